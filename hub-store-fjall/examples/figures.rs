//! The figures of the embedded store on this machine.
//!
//! `cargo run --release -p hub-store-fjall --example figures -- DIR SCENARIO`, with a directory on
//! the disk to be measured (its content is lost) and one of `ingest`, `single`, `twins`, `fjall`,
//! `kept`, `devices`, `segments`. A third argument says how many events or devices. Each prints its conditions with its results; see
//! `docs/decisions/0010-embedded-store.md` for what was compared with what.

#![allow(
    clippy::indexing_slicing,
    reason = "places are taken modulo the length, in a program that measures"
)]

use std::error::Error;
use std::io::Write;
use std::num::NonZeroU32;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hub_core::id::{Partition, SequenceNumber};
use hub_core::store::{
    Ask, Batch, BatchId, Change, DocumentRef, Entries, Key, Kind, Outcome, Seek, Store,
};
use hub_core::time::Timestamp;
use hub_store_fjall::{FileStore, FileStoreConfig};
use hub_store_memory::MemoryStore;

type Failure = Box<dyn Error + Send + Sync>;

const BODY: usize = 300;
const SECONDS: Duration = Duration::from_secs(5);

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, scenario, rest @ ..] = arguments.as_slice() else {
        return Err("arguments: a directory, a scenario, and how many events or devices".into());
    };
    let count: Option<u64> = rest.first().map(|count| count.parse()).transpose()?;
    let directory = Path::new(directory);
    drop(std::fs::remove_dir_all(directory));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match scenario.as_str() {
        "ingest" => {
            let memory =
                runtime.block_on(appends(Arc::new(MemoryStore::new()), 4, 250, SECONDS))?;
            let file = FileStore::open(directory, FileStoreConfig::new())?;
            let file = runtime.block_on(appends(Arc::new(file), 4, 250, SECONDS))?;
            println!("CPU, file to memory: {:.2}", file / memory);
        }
        "single" => {
            let file = FileStore::open(directory, FileStoreConfig::new())?;
            runtime.block_on(appends(Arc::new(file), 1, 1, SECONDS))?;
        }
        "twins" => {
            let file = FileStore::open(directory, FileStoreConfig::new())?;
            runtime.block_on(twins(&file, 10_000))?;
        }
        "fjall" => plain_fjall(directory, 10_000)?,
        "kept" => runtime.block_on(kept(directory, count.unwrap_or(20_000_000)))?,
        "devices" => runtime.block_on(devices(directory, count.unwrap_or(1_000_000)))?,
        "segments" => segments(directory)?,
        other => return Err(format!("no scenario {other}").into()),
    }
    Ok(())
}

/// Processor time of this process so far, in seconds.
fn cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: f64 = fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    ticks / 100.0
}

fn resident_mib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn event(partition: u16, at: u64) -> Change {
    let body = Entries::one(Bytes::from(vec![b'x'; BODY]));
    Change::new().append(Partition(partition), Timestamp::from_millis(at), body)
}

/// `shards` tasks that each commit batches of `size` events, one after another, as the hub does.
/// Processor seconds per million.
async fn appends<S: Store>(
    store: Arc<S>,
    shards: u16,
    size: u64,
    time: Duration,
) -> Result<f64, Failure> {
    // A batch id used before would be answered from memory.
    let run = getrandom::u32().map_err(|error| error.to_string())?;
    let (done, began, used) = (Arc::new(AtomicU64::new(0)), Instant::now(), cpu());
    let tasks = (0..shards).map(|shard| {
        let (store, done) = (store.clone(), done.clone());
        tokio::spawn(async move {
            let mut number = u128::from(run) << 96 | u128::from(shard) << 64;
            while began.elapsed() < time {
                number += 1;
                let changes = (0..size).map(|_| event(shard, 1)).collect();
                let batch = Batch { id: BatchId(number), changes, nudges: Vec::new() };
                store.commit(&batch).await?;
                done.fetch_add(size, Ordering::Relaxed);
            }
            Ok::<_, Failure>(())
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await??;
    }
    let (count, seconds) = (done.load(Ordering::Relaxed), began.elapsed().as_secs_f64());
    let per_million = (cpu() - used) / count as f64 * 1e6;
    println!(
        "{:?}, {shards} × batches of {size} × {BODY} B: {:.0} events/s, {per_million:.2} CPU s/million",
        store.durability(),
        count as f64 / seconds
    );
    Ok(per_million)
}

/// Replaces documents of 1 KiB among so many, a hundred to a batch.
async fn twins(store: &FileStore, count: usize) -> Result<(), Failure> {
    let mut refs = fill(store, count).await?;
    let (began, used) = (Instant::now(), cpu());
    let (mut updates, mut number) = (0_usize, 1_u128 << 100);
    while began.elapsed() < SECONDS {
        number += 1;
        let chosen: Vec<usize> = (0..100).map(|n| (updates * 7919 + n * 97) % count).collect();
        let body = Bytes::from(vec![updates as u8; 1024]);
        let changes = chosen.iter().map(|at| Change::new().replace(&refs[*at], body.clone()));
        let batch = Batch { id: BatchId(number), changes: changes.collect(), nudges: Vec::new() };
        for (at, outcome) in chosen.iter().zip(store.commit(&batch).await?) {
            if let Outcome::Committed(issued) = outcome {
                refs[*at] = DocumentRef::new(refs[*at].key().clone(), issued.version);
                updates += 1;
            }
        }
    }
    report("twins, synced groups of 100", updates, began, used);
    Ok(())
}

async fn fill(store: &FileStore, count: usize) -> Result<Vec<DocumentRef>, Failure> {
    let mut refs = Vec::with_capacity(count);
    for first in (0..count).step_by(1000) {
        let keys: Vec<Key> = (first..(first + 1000).min(count))
            .map(|n| Key::new(Kind::Twin, &format!("device-{n:08}")))
            .collect();
        let body = Bytes::from(vec![b'{'; 1024]);
        let changes = keys.iter().map(|key| Change::new().create(key.clone(), body.clone()));
        let changes = changes.collect();
        let id = BatchId((1 << 90) | first as u128);
        let outcomes = store.commit(&Batch { id, changes, nudges: Vec::new() }).await?;
        for (key, outcome) in keys.into_iter().zip(outcomes) {
            if let Outcome::Committed(issued) = outcome {
                refs.push(DocumentRef::new(key, issued.version));
            }
        }
    }
    Ok(refs)
}

fn report(what: &str, count: usize, began: Instant, used: f64) {
    let per_million = (cpu() - used) / count as f64 * 1e6;
    let rate = count as f64 / began.elapsed().as_secs_f64();
    println!("{what}: {rate:.0}/s, {per_million:.2} CPU s/million");
}

/// The same updates on fjall itself.
fn plain_fjall(directory: &Path, count: usize) -> Result<(), Failure> {
    let database = fjall::Database::builder(directory).open()?;
    let keyspace = database.keyspace("twins", fjall::KeyspaceCreateOptions::default)?;
    let (began, used, mut updates) = (Instant::now(), cpu(), 0_usize);
    while began.elapsed() < SECONDS {
        let mut batch = database.batch().durability(Some(fjall::PersistMode::SyncData));
        let body = vec![updates as u8; 1024];
        for n in 0..100 {
            let at = (updates * 7919 + n * 97) % count;
            batch.insert(&keyspace, format!("device-{at:08}"), body.as_slice());
        }
        batch.commit()?;
        updates += 100;
    }
    report("fjall alone, synced groups of 100", updates, began, used);
    Ok(())
}

/// What appending, reading and opening cost with many events kept.
async fn kept(directory: &Path, count: u64) -> Result<(), Failure> {
    let config = FileStoreConfig::new().log_bytes_max(64 << 30);
    let store = Arc::new(FileStore::open(directory, config.clone())?);
    for _ in 0..5 {
        appends(store.clone(), 4, 250, SECONDS / 20).await?;
    }
    read(&store).await?;
    let mut number = 1_u128 << 80;
    let (began, mut kept) = (Instant::now(), 0);
    while kept < count {
        let changes: Vec<Change> = (0..2000).map(|n| event(n % 4, 1)).collect();
        number += 1;
        store.commit(&Batch { id: BatchId(number), changes, nudges: Vec::new() }).await?;
        kept += 2000;
    }
    println!("{kept} events of {BODY} B in {:.1} s", began.elapsed().as_secs_f64());
    for _ in 0..5 {
        appends(store.clone(), 4, 250, SECONDS / 20).await?;
    }
    read(&store).await?;
    println!("resident: {} MiB", resident_mib());
    drop(store);
    std::io::stdout().flush()?;
    let began = Instant::now();
    let store = FileStore::open(directory, config.clone())?;
    println!("opened after a drop in {:.3} s", began.elapsed().as_secs_f64());
    read(&Arc::new(store)).await?;
    Ok(())
}

/// Reads pages of 1000 from random places and from the end.
async fn read(store: &Arc<FileStore>) -> Result<(), Failure> {
    let limit = NonZeroU32::new(1000).unwrap_or(NonZeroU32::MIN);
    // The threads that make segments and write the state have to rest: their time would be counted.
    // Three rounds, of which the first brings the files into the system's cache.
    tokio::time::sleep(SECONDS).await;
    for far in [true, true, true, false] {
        let (began, used, mut entries) = (Instant::now(), cpu(), 0);
        for page in 0..400_u64 {
            let partition = Partition((page % 4) as u16);
            let next = store.seek(partition, Seek::Next).await?.0;
            let place = if far { page.wrapping_mul(7_777_777_777) % next } else { next - 1000 };
            entries += store.tail(partition, SequenceNumber(place), limit).await?.len();
        }
        report(if far { "read, anywhere" } else { "read, the end" }, entries, began, used);
    }
    Ok(())
}

/// What so many registered devices cost: an identity and a twin each.
async fn devices(directory: &Path, count: u64) -> Result<(), Failure> {
    let count = usize::try_from(count)?;
    let store = FileStore::open(directory, FileStoreConfig::new())?;
    let began = Instant::now();
    drop(fill(&store, count).await?);
    println!("{count} documents of 1 KiB in {:.1} s", began.elapsed().as_secs_f64());
    println!("resident: {} MiB", resident_mib());
    let (began, used) = (Instant::now(), cpu());
    for n in 0..20_000 {
        let at = (n * 7_919_777) % count;
        let key = Key::new(Kind::Twin, &format!("device-{at:08}"));
        let found = store.read(&[Ask::Document(key)]).await?;
        if found.first().is_none_or(Option::is_none) {
            return Err(format!("device {at} is lost").into());
        }
    }
    report("read, cold", 20_000, began, used);
    store.close().await;
    let began = Instant::now();
    let store = FileStore::open(directory, FileStoreConfig::new())?;
    println!("opened in {:.3} s, resident: {} MiB", began.elapsed().as_secs_f64(), resident_mib());
    store.close().await;
    Ok(())
}

/// Groups of 4 and 64 KiB, each synced: appended, and written over zeros.
fn segments(directory: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(directory)?;
    for size in [4096, 65_536] {
        for zeros in [false, true] {
            let path = directory.join(format!("{size}-{zeros}"));
            let mut options = std::fs::File::options();
            let file = options.create(true).truncate(true).write(true).open(path)?;
            if zeros {
                let piece = vec![0; 1 << 20];
                for n in 0..256 {
                    file.write_all_at(&piece, n << 20)?;
                }
                file.sync_all()?;
            }
            let (began, mut at) = (Instant::now(), 0_u64);
            let group = vec![7; size];
            while began.elapsed() < SECONDS / 2 {
                file.write_all_at(&group, at % (255 << 20))?;
                file.sync_data()?;
                at += size as u64;
            }
            let rate = (at / size as u64) as f64 / began.elapsed().as_secs_f64();
            println!(
                "groups of {size} B, {}: {rate:.0} syncs/s",
                if zeros { "over zeros" } else { "appended" }
            );
        }
    }
    Ok(())
}
