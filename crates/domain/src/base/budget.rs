//! How much a request may look at.

/// What is left of the work of one request, in units of about 15 ns: an ASCII letter that is
/// compared is one. It is counted and not measured, so that a request ends at the same place
/// however busy the machine is; a scan has a time limit as well ([`db::Tx::is_late`]).
#[derive(Debug)]
pub struct Budget {
    whole: u64,
    left: u64,
}

impl Budget {
    /// So many units.
    pub fn new(units: u64) -> Self {
        Self { whole: units, left: units }
    }

    /// As many units as anybody needs, for texts that are short.
    pub fn unlimited() -> Self {
        Self::new(u64::MAX)
    }

    /// Counts work that was done or is about to be. What goes beyond the limit counts up to it.
    pub fn spend(&mut self, units: u64) {
        self.left = self.left.saturating_sub(units);
    }

    /// Whether nothing is left.
    pub fn is_used_up(&self) -> bool {
        self.left == 0
    }

    /// The units that were counted so far.
    pub fn spent(&self) -> u64 {
        self.whole - self.left
    }
}
