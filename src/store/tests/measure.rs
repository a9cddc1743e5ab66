//! Measures by hand what a machine's disk does; it asserts no time and does nothing unless it is told a size:
//!
//! `WHATISUP_MEASURE_MIB=1024 cargo test --lib store::tests::measure -- --nocapture`

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use redb::ReadableDatabase as _;

use super::*;
use crate::store::tables::{GROUPS, OUTBOUND};
use crate::store::{Store, open_file};

const SIZE: &str = "WHATISUP_MEASURE_MIB";
const FOLDER: &str = "WHATISUP_MEASURE_FOLDER";

/// Rows of about the size of an event.
const ROW: usize = 400;

fn mebibytes() -> Option<u64> {
    std::env::var(SIZE).ok()?.parse().ok()
}

#[test]
fn a_child_fills_a_file_until_it_is_killed() {
    let (Some(folder), Some(size)) = (std::env::var_os(FOLDER), mebibytes()) else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = Store::open(&options(Path::new(&folder)), sink().0).unwrap();
        let mut number = 0u64;
        loop {
            let first = number;
            number += 2000;
            store
                .write(move |tx| tx.put_all(GROUPS, (first..first + 2000).map(|row| (row.to_be_bytes(), [7; ROW]))))
                .await
                .unwrap();
            if store.stats().unwrap().file_bytes >= size << 20 {
                println!("filled");
            }
        }
    });
}

#[test]
fn how_long_opening_takes_after_a_kill_and_what_quick_repair_costs() {
    let (None, Some(_)) = (std::env::var_os(FOLDER), mebibytes()) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "store::tests::measure::a_child_fills_a_file_until_it_is_killed",
            "--nocapture",
        ])
        .env(FOLDER, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    for line in lines {
        if line == "filled" {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    let path = options(folder.path()).path;
    let bytes = std::fs::metadata(&path).unwrap().len();
    let started = Instant::now();
    let store = Store::open(&options(folder.path()), sink().0).unwrap();
    println!("opened {} MiB after kill -9 in {:?}", bytes >> 20, started.elapsed());
    tokio::runtime::Runtime::new().unwrap().block_on(store.close());

    compare(&path, "the large file");
    let small = tempfile::tempdir().unwrap();
    let small = options(small.path()).path;
    compare(&small, "a small file");

    // The walk that quick repair saves: the last commit does not say which pages are free.
    let database = open_file(&path, 16 << 20, false).unwrap();
    let txn = database.begin_write().unwrap();
    txn.open_table(OUTBOUND)
        .unwrap()
        .insert(b"x".as_slice(), b"x".as_slice())
        .unwrap();
    txn.commit().unwrap();
    let copy = path.with_extension("copy");
    std::fs::copy(&path, &copy).unwrap();
    let started = Instant::now();
    let walked = open_file(&copy, 16 << 20, false).unwrap();
    println!("opened it without quick repair in {:?}", started.elapsed());
    drop(walked.begin_read().unwrap());
}

#[test]
fn how_many_events_a_second_are_stored_by_one_caller_and_by_many() {
    if std::env::var_os(FOLDER).is_some() || mebibytes().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = Store::open(&options(folder.path()), sink().0).unwrap();
    let mut log = std::fs::File::create(folder.path().join("log")).unwrap();
    // In turn, because a shared machine is fast and slow by the second.
    for _ in 0..5 {
        let started = Instant::now();
        for _ in 0..200 {
            log.write_all(&[7; ROW]).unwrap();
            log.sync_data().unwrap();
        }
        let floor = 200.0 / started.elapsed().as_secs_f64();
        let [one, many] = [1u32, 64].map(|callers| {
            let started = Instant::now();
            let each = 200;
            runtime.block_on(async {
                let mut all = tokio::task::JoinSet::new();
                for _ in 0..callers {
                    let store = store.clone();
                    all.spawn(async move {
                        for _ in 0..each {
                            store.write(|tx| tx.append_event(&event(7))).await.unwrap();
                        }
                    });
                }
                all.join_all().await;
            });
            f64::from(callers * each) / started.elapsed().as_secs_f64()
        });
        println!(
            "append and flush {floor:.0}/s; one caller {one:.0}/s = {:.2} of it; 64 callers {many:.0}/s = {:.1} of one",
            one / floor,
            many / one
        );
    }
    runtime.block_on(store.close());
}

/// Alternates commits with and without quick repair, one row each.
fn compare(path: &Path, name: &str) {
    let database = open_file(path, 16 << 20, true).unwrap();
    let mut spent = [Duration::ZERO; 2];
    let mut number = 0u64;
    for round in 0..20 {
        let quick = round % 2 == 1;
        let started = Instant::now();
        for _ in 0..50 {
            number += 1;
            let mut txn = database.begin_write().unwrap();
            txn.set_quick_repair(quick);
            txn.open_table(OUTBOUND)
                .unwrap()
                .insert(number.to_be_bytes().as_slice(), [7; ROW].as_slice())
                .unwrap();
            txn.commit().unwrap();
        }
        spent[usize::from(quick)] += started.elapsed();
    }
    let ratio = spent[0].as_secs_f64() / spent[1].as_secs_f64();
    println!(
        "{name}: a commit takes {:?} without and {:?} with quick repair; rate with : without = {ratio:.2}",
        spent[0] / 500,
        spent[1] / 500
    );
}
