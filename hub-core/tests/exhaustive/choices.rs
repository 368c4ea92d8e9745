//! The choices between what may happen next.

/// Visits all paths of a tree: `next(n)` is a choice among `n`, and [`Choices::advance`] the next
/// path.
#[derive(Default)]
pub(crate) struct Choices {
    path: Vec<(usize, usize)>,
    at: usize,
}

impl Choices {
    pub(crate) fn next(&mut self, of: usize) -> usize {
        if self.at == self.path.len() {
            self.path.push((0, of));
        }
        let (choice, width) = self.path[self.at];
        assert_eq!(width, of, "the same choices lead to the same place");
        self.at += 1;
        choice
    }

    pub(crate) fn advance(&mut self) -> bool {
        self.at = 0;
        while let Some((choice, of)) = self.path.pop() {
            if choice + 1 < of {
                self.path.push((choice + 1, of));
                return true;
            }
        }
        false
    }
}
