//! Wall time of the benches in `benches::routing`. See the README for what each number means.

mod measure;

use benches::routing::Ingest;
use criterion::Criterion;

use self::measure::measure;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    measure::<Ingest>(&mut criterion);
    criterion.final_summary();
}
