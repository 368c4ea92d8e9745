//! Wall time of the benches in `benches::commit`. See the README for what each number means.

mod measure;

use benches::commit::{Append, Replace};
use criterion::Criterion;

use self::measure::measure;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    measure::<Append>(&mut criterion);
    measure::<Replace>(&mut criterion);
    criterion.final_summary();
}
