//! `cargo xtask bench growth`: how cost grows, as numbers and as a picture, docs/growth.svg.
//!
//! Four panels, both axes logarithmic. A dashed line shows what growth in proportion would be, through the
//! largest step: where the points lie above it on the left, small runs pay for what every run costs.

use std::fmt::Write as _;
use std::fs;

use crate::shell::{Failure, Result, announce, capture, cargo, root, say};

/// A series of `scale growth`: its name there, and what its axis says.
const SERIES: [(&str, &str); 4] = [
    ("processes", "processes recording 1 M lines each at once"),
    ("logs", "logs of 2,000 lines, compacted"),
    ("records", "million lines in 8 logs, compacted"),
    ("contexts", "contexts of 500 lines, compacted"),
];

/// Size and processor seconds of a step.
type Point = (f64, f64);

/// Measures all series; draws them unless it is to be short.
pub fn run(is_short: bool) -> Result {
    announce("how cost grows: size, processor seconds, memory and output in bytes");
    let mut panels = Vec::new();
    for (series, _) in SERIES {
        let mut bench = cargo();
        bench.args(["bench", "--quiet", "--bench", "scale", "--", "growth", series]);
        let text = capture(bench.args(is_short.then_some("--short")))?;
        say(text.trim_end());
        panels.push(points(&text)?);
    }
    if !is_short {
        fs::create_dir_all(root().join("docs"))?;
        fs::write(root().join("docs/growth.svg"), picture(&panels))?;
        say("drawn: docs/growth.svg");
    }
    Ok(())
}

fn points(text: &str) -> Result<Vec<Point>> {
    let point = |line: &str| {
        let mut fields = line.split('\t').skip(1).map_while(|field| field.parse::<f64>().ok());
        Some((fields.next()?, fields.next()?.max(0.01)))
    };
    let points: Option<Vec<Point>> = text.lines().map(point).collect();
    points.filter(|points| points.len() > 1).ok_or_else(|| Failure(format!("not a series: {text}")))
}

const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 260.0;
const MARGIN: f64 = 48.0;

/// An axis from the first to the last power of ten around its values.
struct Axis {
    first: f64,
    last: f64,
    start: f64,
    length: f64,
}

impl Axis {
    fn new(values: impl Iterator<Item = f64> + Clone, start: f64, length: f64) -> Axis {
        let first = values.clone().fold(f64::INFINITY, f64::min).log10().floor();
        let last = values.fold(0.0, f64::max).log10().ceil().max(first + 1.0);
        Axis { first, last, start, length }
    }

    fn at(&self, value: f64) -> f64 {
        self.start + self.length * (value.log10() - self.first) / (self.last - self.first)
    }

    fn powers(&self) -> impl Iterator<Item = f64> {
        (self.first as i32..=self.last as i32).map(|power| 10_f64.powi(power))
    }
}

fn picture(panels: &[Vec<Point>]) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        // The last label stands out to the right.
        2.0 * WIDTH + 16.0,
        2.0 * HEIGHT
    );
    for (number, (points, (_, title))) in panels.iter().zip(SERIES).enumerate() {
        let (x, y) = ((number % 2) as f64 * WIDTH, (number / 2) as f64 * HEIGHT);
        let _ = writeln!(svg, "<g transform=\"translate({x} {y})\">");
        panel(&mut svg, points, title);
        svg.push_str("</g>\n");
    }
    svg + "</svg>\n"
}

fn panel(svg: &mut String, points: &[Point], title: &str) {
    let (right, bottom) = (WIDTH - 16.0, HEIGHT - MARGIN);
    let across = Axis::new(points.iter().map(|point| point.0), MARGIN, right - MARGIN);
    let up = Axis::new(points.iter().map(|point| point.1), bottom, 24.0 - bottom);
    for power in across.powers() {
        let x = across.at(power);
        let _ = writeln!(svg, "<path d=\"M{x:.1} 24V{bottom}\" stroke=\"#ddd\"/>");
        let y = bottom + 16.0;
        let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{power}</text>");
    }
    for power in up.powers() {
        let (x, y) = (MARGIN - 6.0, up.at(power));
        let _ = writeln!(svg, "<path d=\"M{MARGIN} {y:.1}H{right}\" stroke=\"#ddd\"/>");
        let _ =
            writeln!(svg, "<text x=\"{x}\" y=\"{:.1}\" text-anchor=\"end\">{power} s</text>", y + 4.0);
    }
    let middle = (MARGIN + right) / 2.0;
    let y = HEIGHT - 14.0;
    let _ = writeln!(svg, "<text x=\"{middle}\" y=\"{y}\" text-anchor=\"middle\">{title}</text>");
    let (size, seconds) = points[points.len() - 1];
    // In proportion to the largest, down to the lower edge.
    let least = 10_f64.powf(across.first).max(size * 10_f64.powf(up.first) / seconds);
    let from = (across.at(least), up.at(least * seconds / size));
    let to = (across.at(size), up.at(seconds));
    let dashed = "stroke=\"#888\" stroke-dasharray=\"4 3\"";
    let _ =
        writeln!(svg, "<path d=\"M{:.1} {:.1}L{:.1} {:.1}\" {dashed}/>", from.0, from.1, to.0, to.1);
    let at = |point: &Point| format!("{:.1},{:.1}", across.at(point.0), up.at(point.1));
    let line: Vec<String> = points.iter().map(at).collect();
    let style = "fill=\"none\" stroke=\"#06c\" stroke-width=\"2\"";
    let _ = writeln!(svg, "<polyline points=\"{}\" {style}/>", line.join(" "));
    for (size, seconds) in points {
        let (x, y) = (across.at(*size), up.at(*seconds));
        let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"#06c\"/>");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_in_proportion_lies_on_the_dashed_line() {
        let panel = points("logs\t1\t0.1\t7\t8\nlogs\t100\t10\t7\t8\n").expect("two steps");
        let svg = picture(&vec![panel; 4]);
        assert_eq!((svg.matches("<circle").count(), svg.matches("<polyline").count()), (8, 4));
        let dashed = svg.lines().find(|line| line.contains("dasharray")).expect("a dashed line");
        let line = svg.lines().find(|line| line.contains("polyline")).expect("a line");
        let numbers = |text: &str| {
            let words = text.split(|char: char| !char.is_ascii_digit() && char != '.');
            words.filter_map(|word| word.parse::<f64>().ok()).take(4).collect::<Vec<_>>()
        };
        assert_eq!(numbers(dashed), numbers(line));
    }

    #[test]
    fn what_is_no_series_is_refused() {
        assert!(points("error: no such bench\n").is_err());
        assert!(points("logs\t1\t0.1\t7\t8\n").is_err(), "one point shows no growth");
    }
}
