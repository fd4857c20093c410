//! Every seed in a process of its own: nothing that ran before can touch its history, a crash of the
//! whole process is a finding, and seeds run side by side on all processors.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use parking_lot::Mutex;

use super::run::{Options, simulate};
use super::world::Mutation;

/// The test in this binary that runs one seed.
const ONE_SEED: &str = "one_seed";
/// Tells it which: seed, then the mutation's name.
const VARIABLE: &str = "ANTIPHON_SIM_RUN";
/// What its lines begin with.
const EVENT: &str = "| ";
const VERDICT: &str = "! ";
const CLEAN: &str = "clean";

/// One seed to be run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    pub(crate) seed: u64,
    pub(crate) mutation: Option<Mutation>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) seed: u64,
    /// The broken rule and how.
    pub(crate) violation: Option<String>,
    pub(crate) history: Vec<String>,
}

impl Report {
    /// The name of the broken rule.
    pub(crate) fn rule(&self) -> Option<&str> {
        self.violation.as_deref()?.split(':').next()
    }
}

/// Runs all of them, as many at a time as there are processors.
pub(crate) fn run_all(jobs: &[Job]) -> Vec<Report> {
    let (next, reports) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let report = run(*job);
            reports.lock().push(report);
        }
    };
    let processors = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        (0..processors).for_each(|_| drop(scope.spawn(work)));
    });
    let mut reports = reports.into_inner();
    reports.sort_by_key(|report| report.seed);
    reports
}

/// Runs one.
pub(crate) fn run(job: Job) -> Report {
    let program = std::env::current_exe().expect("a test knows its binary");
    let mutation = job.mutation.map_or("", Mutation::name);
    let output = Command::new(program)
        .args(["--exact", ONE_SEED, "--ignored", "--nocapture"])
        .env(VARIABLE, format!("{} {mutation}", job.seed))
        .stdin(Stdio::null())
        .output()
        .expect("a process for a seed");
    let text = String::from_utf8_lossy(&output.stdout);
    let of = |mark| text.lines().filter_map(move |line| line.strip_prefix(mark));
    let history: Vec<String> = of(EVENT).map(str::to_owned).collect();
    let violation = match of(VERDICT).next() {
        Some(CLEAN) => None,
        Some(violation) => Some(violation.to_owned()),
        None => {
            let said = String::from_utf8_lossy(&output.stderr);
            Some(format!("ended: {}: {said}", output.status))
        }
    };
    Report { seed: job.seed, violation, history }
}

/// The body of the test [`ONE_SEED`].
#[allow(clippy::print_stdout, reason = "the other process reads it")]
pub(crate) fn run_what_the_environment_says() {
    let job = std::env::var(VARIABLE).expect("this test is run by the others");
    let (seed, mutation) = job.split_once(' ').expect("a seed and a mutation");
    let mutation = Mutation::ALL.into_iter().find(|known| known.name() == mutation);
    let outcome = simulate(seed.parse().expect("a seed"), Options { mutation });
    // The harness has begun a line of its own.
    println!();
    for line in outcome.history.lines() {
        println!("{EVENT}{line}");
    }
    match outcome.verdict {
        Ok(()) => println!("{VERDICT}{CLEAN}"),
        Err(violation) => println!("{VERDICT}{}", violation.to_string().replace('\n', " ")),
    }
}
