//! How much an evaluation may cost.

/// Bytes of text that may be looked at for one step.
const BYTES_PER_STEP: usize = 64;

/// Counts the work of one evaluation, so that no condition takes longer than its limit, whatever the
/// message.
///
/// Each operand costs a step; text that is made, searched or counted costs another for each 64 bytes.
#[derive(Debug, Clone)]
pub(super) struct Steps {
    left: u32,
    exhausted: bool,
}

impl Steps {
    pub(super) fn new(limit: u32) -> Self {
        Self { left: limit, exhausted: false }
    }

    /// Takes one step. Not, if none is left.
    pub(super) fn spend(&mut self) -> bool {
        self.take(1)
    }

    /// Takes the steps for this much text. Not, if too few are left; then none is left.
    pub(super) fn spend_text(&mut self, bytes: usize) -> bool {
        self.take(u32::try_from(bytes / BYTES_PER_STEP).unwrap_or(u32::MAX))
    }

    fn take(&mut self, steps: u32) -> bool {
        match self.left.checked_sub(steps) {
            Some(left) => self.left = left,
            None => (self.left, self.exhausted) = (0, true),
        }
        !self.exhausted
    }

    /// Whether more was asked for than there was.
    pub(super) fn are_exhausted(&self) -> bool {
        self.exhausted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spent_is_spent() {
        let mut steps = Steps::new(3);
        assert!(steps.spend() && steps.spend_text(128) && steps.spend_text(63));
        assert!(!steps.are_exhausted());
        assert!(!steps.spend() && steps.are_exhausted() && !steps.spend_text(0));
    }
}
