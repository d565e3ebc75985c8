//! Takes tables, code blocks and values out of `format-spec.md`.

use std::ops::RangeInclusive;

const SPEC: &str = include_str!("../../format-spec.md");

/// A table of the document, with the heading that it stands under.
pub struct Table {
    pub heading: &'static str,
    pub columns: Vec<&'static str>,
    pub rows: Vec<Vec<&'static str>>,
}

impl Table {
    /// The cell of `row` in the column named `column`.
    pub fn cell(&self, row: &[&'static str], column: &str) -> &'static str {
        let index = self.columns.iter().position(|name| *name == column);
        row[index.unwrap_or_else(|| panic!("{}: no column {column}", self.heading))]
    }
}

fn cells(line: &'static str) -> Option<Vec<&'static str>> {
    let inner = line.strip_prefix("| ")?.strip_suffix(" |")?;
    Some(inner.split(" | ").map(str::trim).collect())
}

/// All tables, in their order.
pub fn tables() -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    let mut heading = "";
    let mut inside = false;
    for line in SPEC.lines() {
        if line.starts_with('#') {
            heading = line.trim_start_matches(['#', ' ']);
        }
        match (cells(line), inside) {
            (Some(row), true) => tables.last_mut().unwrap().rows.push(row),
            (Some(columns), false) => tables.push(Table { heading, columns, rows: Vec::new() }),
            (None, _) => {}
        }
        inside = line.starts_with('|');
    }
    tables
}

/// The table whose first column is named `first_column`, under a heading that contains `heading`.
pub fn table(heading: &str, first_column: &str) -> Table {
    tables()
        .into_iter()
        .find(|table| table.heading.contains(heading) && table.columns[0] == first_column)
        .unwrap_or_else(|| panic!("no table of {first_column} under {heading}"))
}

/// The lines of the code block whose first line is "```" and `label`.
pub fn block(label: &str) -> Vec<&'static str> {
    let start = format!("```{label}");
    let lines: Vec<_> = SPEC
        .lines()
        .skip_while(|line| *line != start)
        .skip(1)
        .take_while(|line| *line != "```")
        .collect();
    assert!(!lines.is_empty(), "no code block {label}");
    lines
}

/// The labels of all code blocks that begin with `kind`.
pub fn block_labels(kind: &str) -> Vec<&'static str> {
    let start = format!("```{kind} ");
    SPEC.lines().filter_map(|line| line.strip_prefix(start.as_str())).collect()
}

/// The bytes that hex digits stand for; blanks are ignored.
pub fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.chars().filter(|character| !character.is_whitespace()).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// The file that `hexdump -C` printed as `lines`.
pub fn file_of_hexdump(lines: &[&str]) -> Vec<u8> {
    let mut file: Vec<u8> = Vec::new();
    let mut repeated = false;
    for line in lines {
        if *line == "*" {
            repeated = true;
            continue;
        }
        let (offset, rest) = line.split_once("  ").unwrap_or((line, ""));
        let offset = usize::from_str_radix(offset, 16).unwrap();
        let above = file[file.len().saturating_sub(16)..].to_vec();
        while repeated && file.len() < offset {
            file.extend(&above);
        }
        repeated = false;
        assert_eq!(file.len(), offset, "{line}");
        file.extend(hex(rest.split('|').next().unwrap()));
    }
    file
}

/// A number in decimal, or in hexadecimal behind `0x`.
pub fn number(text: &str) -> i128 {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => i128::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.unwrap_or_else(|_| panic!("not a number: {text}"))
}

/// A row of a table of bytes: where a field lies and what it may hold.
#[derive(Clone, Debug)]
pub struct Field {
    pub name: &'static str,
    pub offset: usize,
    pub size: usize,
    pub kind: FieldKind,
    /// What may be written there.
    pub range: RangeInclusive<i128>,
    /// Whether the table gives a range, so that other values are damage.
    pub limited: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    Number,
    Mask(u8),
    Bytes,
    Zero,
}

/// The fields of a table of bytes.
pub fn fields(table: &Table) -> Vec<Field> {
    table.rows.iter().map(|row| field(table, row)).collect()
}

fn field(table: &Table, row: &[&'static str]) -> Field {
    let kind_text = table.cell(row, "type");
    let size = table.cell(row, "size").parse().unwrap();
    let (kind, widest) = kind_and_width(kind_text, size);
    let range_text = if table.columns.contains(&"range") { table.cell(row, "range") } else { "any" };
    let range = match range_text.split_once(" to ") {
        Some((low, high)) => number(low)..=number(high),
        None => widest,
    };
    Field {
        name: table.cell(row, "name"),
        offset: table.cell(row, "offset").parse().unwrap(),
        size,
        kind,
        range,
        limited: range_text != "any",
    }
}

fn kind_and_width(text: &str, size: usize) -> (FieldKind, RangeInclusive<i128>) {
    let bits = 8 * size.min(8);
    match text {
        "u8" | "u16" | "u32" | "u64" => {
            assert_eq!(text[1..].parse(), Ok(bits), "the size is that of the type");
            (FieldKind::Number, 0..=(1 << bits) - 1)
        }
        "i32" | "i64" => {
            assert_eq!(text[1..].parse(), Ok(bits), "the size is that of the type");
            (FieldKind::Number, -(1 << (bits - 1))..=(1 << (bits - 1)) - 1)
        }
        "bytes" | "text" => (FieldKind::Bytes, 0..=0),
        "zero" => (FieldKind::Zero, 0..=0),
        _ => {
            let mask = number(text.strip_prefix("mask ").expect("a known type")) as u8;
            (FieldKind::Mask(mask), 0..=i128::from(mask >> mask.trailing_zeros()))
        }
    }
}

impl Field {
    /// Puts `value` where the field lies.
    pub fn put(&self, bytes: &mut [u8], value: i128) {
        match self.kind {
            FieldKind::Mask(mask) => {
                bytes[self.offset] |= (value as u8) << mask.trailing_zeros() & mask;
            }
            _ => bytes[self.offset..][..self.size].copy_from_slice(&value.to_le_bytes()[..self.size]),
        }
    }

    /// Puts `text` at the start of the field.
    pub fn put_bytes(&self, bytes: &mut [u8], text: &[u8]) {
        assert!(text.len() <= self.size);
        bytes[self.offset..][..text.len()].copy_from_slice(text);
    }
}
