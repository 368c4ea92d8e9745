//! The conformance kit for transports, on a transport that fits one screen.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod line;
mod planted;
mod probe;

mod everything {
    hub_core::transport_tests!(crate::probe::LineFixture::new(crate::planted::Bug::None));
}

/// A protocol that can do little: the cases it has no words for are listed as ignored.
mod little {
    use crate::planted::Bug;
    use crate::probe::{LineFixture, LittleFixture};

    hub_core::transport_tests!(
        LittleFixture(LineFixture::new(Bug::None)),
        without: introduced lasting pipelined messages dispositions methods desired twins
    );
}
