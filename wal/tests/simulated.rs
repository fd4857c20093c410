//! The simulated disk and its log: seeded lives of one log, each ending in a crash, recovered by the
//! real recovery. What was acknowledged is there, and nothing is there twice or out of order; a bit
//! that rots in what was acknowledged is found; and without syncs this test notices.

use std::collections::BTreeMap;
use std::sync::Arc;

use antiphon_common::{Entropy, ErrorKind, Lsn, SeededEntropy, WalEpoch};
use antiphon_wal::simulated::{Opened, SimulatedDisk, SimulatedWal, SimulatedWalOptions};
use antiphon_wal::{Ending, OpenError, Replayed, Wal};
use parking_lot::Mutex;
use tempfile::TempDir;

const SEGMENT: usize = 32 << 10;
const SEEDS: u64 = 60;
const LIVES: u64 = 12;

/// What the log was asked to keep, and what it said it has kept.
#[derive(Default)]
struct Ledger {
    sent: BTreeMap<Lsn, Vec<u8>>,
    acked: Arc<Mutex<Vec<Lsn>>>,
    trimmed: Lsn,
    endings: Vec<Ending>,
}

struct Run {
    dice: SeededEntropy,
    scratch: TempDir,
    ledger: Ledger,
    syncs: bool,
}

impl Run {
    fn new(seed: u64, syncs: bool) -> Self {
        let scratch = tempfile::tempdir().expect("a folder");
        Self { dice: SeededEntropy::new(seed), scratch, ledger: Ledger::default(), syncs }
    }

    fn open(&self, disk: SimulatedDisk, life: u64) -> Result<Opened, OpenError> {
        let options = SimulatedWalOptions {
            epoch: WalEpoch(life + 1),
            expected_start: self.ledger.trimmed.next(),
            segment_bytes: SEGMENT,
            capacity_bytes: 12 * SEGMENT,
            salt: self.dice.u64() as u32,
            syncs: self.syncs,
            scratch: self.scratch.path().to_owned(),
        };
        SimulatedWal::open(disk, options)
    }

    /// Lives and crashes; what is wrong, if anything.
    fn lives(&mut self) -> Result<(), String> {
        let mut disk = SimulatedDisk::default();
        for life in 0..LIVES {
            let opened = self.open(disk, life).map_err(|error| error.to_string())?;
            let (wal, frames, report) = opened;
            self.ledger.endings.push(report.ending);
            self.compare(&frames, report.next_lsn)?;
            for _ in 0..self.dice.u64() % 60 {
                self.step(&wal);
            }
            disk = match self.dice.u64() % 4 {
                0 => {
                    wal.close();
                    wal.disk()
                }
                1 => self.rot(&wal, life)?,
                _ => wal.crash(&self.dice),
            };
        }
        Ok(())
    }

    fn step(&mut self, wal: &SimulatedWal) {
        match self.dice.u64() % 8 {
            0..5 => self.append(wal),
            5 | 6 => wal.sync(1 + self.dice.u64() as usize % 6),
            _ => {
                let room = wal.durable().get() - self.ledger.trimmed.get();
                let through = self.ledger.trimmed.get() + self.dice.u64() % (room + 1);
                self.ledger.trimmed = Lsn(through);
                wal.trim(Lsn(through));
            }
        }
    }

    fn append(&mut self, wal: &SimulatedWal) {
        let length = (self.dice.u64() % 6000) as usize;
        let word = self.dice.u64().to_le_bytes();
        let payload: Vec<u8> = word.iter().copied().cycle().take(length).collect();
        let (lsn, acked) = (wal.stats().next_lsn, Arc::clone(&self.ledger.acked));
        let done = Box::new(move |result: Result<_, _>| {
            result.expect("it never fails");
            acked.lock().push(lsn);
        });
        match wal.append(length, &mut |space| space.copy_from_slice(&payload), done) {
            Ok(given) => {
                assert_eq!(given, lsn);
                self.ledger.sent.insert(lsn, payload);
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Retry, "{error}"),
        }
    }

    /// A bit of an acknowledged frame turns over: recovery must refuse. Returns the disk without it.
    fn rot(&self, wal: &SimulatedWal, life: u64) -> Result<SimulatedDisk, String> {
        let place = wal.vouched_byte(&self.dice);
        let whole = wal.disk();
        let Some((file, position)) = place else { return Ok(whole) };
        let mut rotten = whole.clone();
        rotten.flip_bit(file, position, self.dice.u64() as u8);
        match self.open(rotten, life + 1) {
            Err(error) if error.kind() == ErrorKind::Corrupt => Ok(whole),
            Err(error) => Err(format!("not called corrupt: {error}")),
            Ok(_) => Err(format!("a flipped bit in {file} at {position} was not noticed")),
        }
    }

    fn compare(&mut self, frames: &[Replayed], next: Lsn) -> Result<(), String> {
        let needed = self.ledger.trimmed.next();
        for (frame, expected) in frames.iter().zip(needed.get()..) {
            let sent = self.ledger.sent.get(&frame.lsn);
            if frame.lsn != Lsn(expected) || sent.is_none_or(|sent| frame.payload != sent[..]) {
                return Err(format!("frame {} is not what was appended", frame.lsn));
            }
        }
        let acked = self.ledger.acked.lock().last().copied().unwrap_or(Lsn::ZERO);
        if next <= acked {
            return Err(format!("{acked} was acknowledged, the log goes on at {next}"));
        }
        // What did not survive is given out again.
        self.ledger.sent.retain(|lsn, _| *lsn < next);
        Ok(())
    }
}

#[test]
fn what_was_acknowledged_survives_every_crash_and_rot_is_found() {
    let mut endings = BTreeMap::<String, u64>::new();
    for seed in 1..=SEEDS {
        let mut run = Run::new(seed, true);
        run.lives().unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
        for ending in &run.ledger.endings {
            *endings.entry(format!("{ending:?}")).or_default() += 1;
        }
    }
    // The disk is as bad as it claims: all ways to end were met.
    for ending in ["Empty", "Clean", "Unclean", "TornTail"] {
        assert!(endings.get(ending).is_some_and(|times| *times > 10), "{endings:?}");
    }
}

#[test]
fn without_syncs_it_does_not() {
    let caught = (1..=SEEDS).filter(|seed| Run::new(*seed, false).lives().is_err()).count();
    assert!(caught > SEEDS as usize / 2, "only {caught} of {SEEDS} seeds lost something");
}
