//! Wall time of the benches in `benches::query`. See the README for what each number means.

mod measure;

use benches::query::Route;
use criterion::Criterion;

use self::measure::measure;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    measure::<Route>(&mut criterion);
    criterion.final_summary();
}
