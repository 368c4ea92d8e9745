use super::*;
use hub_core::id::DeviceId;
use std::convert::Infallible;
use std::io::{Read as _, Write as _};
use std::time::Duration;

/// A directory that goes with the test.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn open(&self) -> Disk {
        Disk::open(self.path()).unwrap()
    }

    /// All files below, by their paths.
    fn files(&self, folder: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![self.path().join(folder)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.push(path.strip_prefix(self.path()).unwrap().display().to_string());
                }
            }
        }
        found.sort();
        found
    }
}

fn blob(name: &str) -> BlobName {
    BlobName::new(&DeviceId::new("d1").unwrap(), name).unwrap()
}

fn new(disk: &Disk, text: &str) -> NewFile {
    let mut new = disk.new_file().unwrap();
    new.file.write_all(text.as_bytes()).unwrap();
    new
}

fn put(disk: &Disk, name: &str, text: &str) -> Stored {
    let properties = Properties { md5: Some(text.to_owned()), ..Properties::default() };
    put_with(disk, name, text, &properties, false).unwrap()
}

fn put_with(
    disk: &Disk,
    name: &str,
    text: &str,
    properties: &Properties,
    exclusive: bool,
) -> Result<Stored, NotPut<Infallible>> {
    let file = new(disk, text);
    disk.put(&blob(name), file, properties, &[], exclusive, |_| Ok(()))
}

fn read(disk: &Disk, name: &str) -> Option<String> {
    let mut stored = disk.open_blob(&blob(name)).unwrap()?;
    let mut text = String::new();
    stored.file.read_to_string(&mut text).unwrap();
    Some(text)
}

#[test]
fn a_blob_is_a_file_of_its_name_and_nothing_else_is_left() {
    let place = Place::new();
    let disk = place.open();
    put(&disk, "a b/c.txt", "one");
    put(&disk, "a b/c.txt", "two");
    assert_eq!(place.files("files"), ["files/d1/a b/c.txt"]);
    assert_eq!(place.files("staging"), [""; 0]);
    assert_eq!(read(&disk, "a b/c.txt").as_deref(), Some("two"));
    // Another process, or the same one after a restart.
    let again = place.open();
    let (_, properties) = again.open_with_properties(&blob("a b/c.txt")).unwrap().unwrap();
    assert_eq!(properties.md5.as_deref(), Some("two"));
    assert!(again.delete::<Infallible>(&blob("a b/c.txt"), |_| Ok(())).unwrap());
    assert!(!again.delete::<Infallible>(&blob("a b/c.txt"), |_| Ok(())).unwrap());
    assert_eq!(fs::read_dir(place.path().join("files")).unwrap().count(), 0);
    assert_eq!(place.files("properties"), [""; 0]);
}

#[test]
fn versions_differ_and_properties_of_another_version_do_not_count() {
    let place = Place::new();
    let disk = place.open();
    let tags: Vec<Tag> = (0..50).map(|_| put(&disk, "a", "same").tag).collect();
    assert!(tags.windows(2).all(|pair| pair[0].0 < pair[1].0), "{tags:?}");
    // As if the process had ended between the bytes and their properties.
    fs::write(place.path().join("files/d1/a"), "newer").unwrap();
    let (stored, properties) = disk.open_with_properties(&blob("a")).unwrap().unwrap();
    assert_eq!((stored.size, properties), (5, Properties::default()));
}

#[test]
fn a_reader_keeps_the_version_that_it_opened() {
    let place = Place::new();
    let disk = place.open();
    put(&disk, "a", "one");
    let mut old = disk.open_blob(&blob("a")).unwrap().unwrap();
    put(&disk, "a", "two");
    let mut text = String::new();
    old.file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "one");
}

#[test]
fn a_name_is_a_file_or_a_folder() {
    let place = Place::new();
    let disk = place.open();
    put(&disk, "a/b", "one");
    for exclusive in [true, false] {
        let over = put_with(&disk, "a", "two", &Properties::default(), exclusive);
        assert!(matches!(over, Err(NotPut::Occupied)), "{over:?}");
        let through = put_with(&disk, "a/b/c", "two", &Properties::default(), exclusive);
        assert!(matches!(through, Err(NotPut::Occupied)), "{through:?}");
    }
    assert!(disk.open_blob(&blob("a")).unwrap().is_none());
    assert!(disk.open_blob(&blob("a/b/c")).unwrap().is_none());
    assert_eq!(place.files("staging"), [""; 0]);
    assert_eq!(read(&disk, "a/b").as_deref(), Some("one"));
}

#[test]
fn of_several_that_may_not_replace_one_wins() {
    let place = Place::new();
    // Two processes, each with several writers.
    let disks = [place.open(), place.open()];
    let won: usize = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..16)
            .map(|number| {
                let disk = &disks[number % 2];
                scope.spawn(move || {
                    let file = new(disk, &number.to_string());
                    let properties = Properties::default();
                    let put = disk.put(&blob("a"), file, &properties, &[], true, |there| {
                        if there.is_some() { Err(()) } else { Ok(()) }
                    });
                    assert!(matches!(put, Ok(_) | Err(NotPut::Condition(()))), "{put:?}");
                    usize::from(put.is_ok())
                })
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).sum()
    });
    assert_eq!(won, 1);
    assert_eq!(place.files("staging"), [""; 0]);
}

#[test]
fn what_was_cut_off_leaves_the_old_blob_and_no_file() {
    let place = Place::new();
    let disk = place.open();
    put(&disk, "a", "one");
    drop(new(&disk, "half of tw"));
    assert_eq!(read(&disk, "a").as_deref(), Some("one"));
    assert_eq!(place.files("staging"), [""; 0]);
}

#[test]
fn staged_blocks_are_counted_also_after_a_restart() {
    let place = Place::new();
    let disk = place.open();
    for (id, text) in [("1", "one"), ("2", "four"), ("1", "seven")] {
        disk.stage(&blob("a"), id.as_bytes(), new(&disk, text), AMPLE).unwrap();
    }
    let want = Staged { blocks: 2, bytes: 9 };
    assert_eq!(disk.staged(&blob("a")).unwrap(), want);
    let again = place.open();
    assert_eq!(again.staged(&blob("a")).unwrap(), want);
    assert_eq!(again.staged(&blob("b")).unwrap(), Staged::default());
    assert_eq!(again.staged_block(&blob("a"), b"1").unwrap().unwrap().1, 5);
    assert!(again.staged_block(&blob("b"), b"1").unwrap().is_none());
    again.drop_staged(&blob("a")).unwrap();
    assert_eq!(again.staged(&blob("a")).unwrap(), Staged::default());
    assert_eq!(place.files("staging"), [""; 0]);
}

#[test]
fn a_sweep_takes_what_was_not_touched_and_no_blob() {
    let place = Place::new();
    let disk = place.open();
    put(&disk, "a", "one");
    disk.stage(&blob("a"), b"1", new(&disk, "two"), AMPLE).unwrap();
    let mut left = new(&disk, "three");
    left.kept();
    let (past, future) = (Duration::from_secs(60), SystemTime::now() + Duration::from_secs(60));
    assert_eq!(disk.sweep(SystemTime::now() - past).unwrap(), 0);
    assert_eq!(place.files("staging").len(), 2);
    assert_eq!(disk.sweep(future).unwrap(), 2);
    assert_eq!(place.files("staging"), [""; 0]);
    assert_eq!(disk.staged(&blob("a")).unwrap(), Staged::default());
    assert_eq!(read(&disk, "a").as_deref(), Some("one"));
    disk.stage(&blob("a"), b"1", new(&disk, "two"), AMPLE).unwrap();
    let folder = disk.blocks_of(&blob("a"));
    File::open(&folder).unwrap().set_modified(SystemTime::now() - past).unwrap();
    disk.touch_staged(&blob("a")).unwrap();
    assert_eq!(disk.sweep(SystemTime::now() - past / 2).unwrap(), 0);
}

#[test]
fn a_secret_is_made_once_and_read_by_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    let (one, two) = (place.open(), place.open());
    assert_eq!(one.secret("key", "first").unwrap(), "first");
    assert_eq!(two.secret("key", "second").unwrap(), "first");
    let mode = fs::metadata(place.path().join("key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(place.files("staging"), [""; 0]);
}

const AMPLE: StageLimits = StageLimits { blocks_max: 1000, bytes_max: 1 << 20 };

#[test]
fn blocks_that_come_at_once_do_not_take_the_same_room() {
    let place = Place::new();
    let disk = place.open();
    let limits = StageLimits { blocks_max: 1000, bytes_max: 10 };
    let news: Vec<NewFile> = (0..16).map(|_| new(&disk, "four")).collect();
    let begin = std::sync::Barrier::new(news.len());
    let staged = std::thread::scope(|scope| {
        let threads = news.into_iter().enumerate().map(|(n, new)| {
            let (disk, begin) = (&disk, &begin);
            scope.spawn(move || {
                begin.wait();
                disk.stage(&blob("a"), &n.to_be_bytes(), new, limits)
            })
        });
        let threads: Vec<_> = threads.collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(staged.iter().filter(|staged| staged.is_ok()).count(), 2);
    assert!(staged.iter().all(|staged| matches!(staged, Ok(()) | Err(NotStaged::Bytes))));
    assert_eq!(disk.staged(&blob("a")).unwrap(), Staged { blocks: 2, bytes: 8 });
    assert_eq!(place.files("staging/new"), [""; 0]);
}

#[test]
fn a_block_that_replaces_another_takes_its_room() {
    let place = Place::new();
    let disk = place.open();
    let limits = StageLimits { blocks_max: 1, bytes_max: 5 };
    disk.stage(&blob("a"), b"1", new(&disk, "five!"), limits).unwrap();
    let other = disk.stage(&blob("a"), b"2", new(&disk, ""), limits);
    assert!(matches!(other, Err(NotStaged::Blocks)));
    disk.stage(&blob("a"), b"1", new(&disk, "four"), limits).unwrap();
    let large = disk.stage(&blob("a"), b"1", new(&disk, "sixsix"), limits);
    assert!(matches!(large, Err(NotStaged::Bytes)));
    assert_eq!(disk.staged(&blob("a")).unwrap(), Staged { blocks: 1, bytes: 4 });
}
