//! Random values from a seed that every failure names, and figures that the environment can raise.
#![allow(dead_code, reason = "not every test uses everything")]

/// The number in the environment variable `name`, if there is one.
pub fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// How often something is done: what `name` says, or `usual`.
pub fn figure(name: &str, usual: u64) -> u64 {
    setting(name).unwrap_or(usual)
}

/// The seed of this run: that of `HITLOG_SEED`, or always the same one.
pub fn seed() -> u64 {
    figure("HITLOG_SEED", 0x9E37_79B9_7F4A_7C15)
}

/// A generator of numbers whose sequence its seed determines (SplitMix64).
pub struct Random(pub u64);

impl Random {
    #[allow(clippy::should_implement_trait, reason = "this sequence has no end")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }

    pub fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.below(end + 1));
        }
    }

    /// Mostly small, so that records meet; sometimes at an end of what fits.
    pub fn number(&mut self, highest: u64) -> u64 {
        match self.below(12) {
            0 => highest,
            1 => highest.wrapping_add(1),
            2 => self.next(),
            _ => self.next() % 6,
        }
    }

    pub fn text(&mut self) -> Vec<u8> {
        let length = self.of(&[0, 1, 15, 16, 17, 40, 100]);
        match self.below(4) {
            0 => self.bytes(length),
            1 => "süß\u{2028}\u{1F600}\"\\\n\u{7f}\u{1}".bytes().cycle().take(length).collect(),
            _ => b"tests/test_cart.py::test_total|run".iter().copied().cycle().take(length).collect(),
        }
    }
}
