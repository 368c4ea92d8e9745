//! Wall time of the benches in `benches::engine`. See the README for what each number means.

mod measure;

use benches::engine::{Message, Method, Report, Telemetry};
use criterion::Criterion;

use self::measure::measure;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    measure::<Telemetry>(&mut criterion);
    measure::<Method>(&mut criterion);
    measure::<Report>(&mut criterion);
    measure::<Message>(&mut criterion);
    criterion.final_summary();
}
