//! What goes wrong now, and for whom; shared by whoever wraps stores and whoever decides.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use antiphon_common::{Entropy, SeededEntropy};
use object_store::ObjectStore;
use object_store::path::Path;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::rule::{ArmedRule, Fault, Operation, Rule};
use super::store::FaultyStore;

/// Whether the bucket can be reached at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outage {
    /// It can.
    #[default]
    None,
    /// Every request fails at once, as if nobody listened.
    Refuses,
    /// Every request waits until the outage is over, or for so long, and then fails: a server that
    /// is frozen, and a client with a time limit.
    Hangs(Duration),
}

/// Called after a request was carried out and before its reply leaves.
pub type AppliedHook = Arc<dyn Fn(Operation, &Path) + Send + Sync>;

struct State {
    rules: Vec<ArmedRule>,
    seeds: SeededEntropy,
    struck: BTreeMap<&'static str, u64>,
    on_applied: Option<AppliedHook>,
}

/// Decides the fate of every request of the stores that it wraps. Clones share everything.
#[derive(Clone)]
pub struct FaultPlan {
    state: Arc<Mutex<State>>,
    outage: watch::Sender<Outage>,
}

/// What happens to one request: how late it is, and the fault with a number to decide details.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fate {
    pub(super) delay: Option<Duration>,
    pub(super) fault: Option<(Fault, u64)>,
}

impl FaultPlan {
    /// Nothing goes wrong until somebody says so.
    pub fn seeded(seed: u64) -> Self {
        let (seeds, struck) = (SeededEntropy::new(seed), BTreeMap::new());
        let state = State { rules: Vec::new(), seeds, struck, on_applied: None };
        Self { state: Arc::new(Mutex::new(state)), outage: watch::Sender::default() }
    }

    /// The same store, with these faults.
    pub fn wrap(&self, inner: Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> {
        Arc::new(FaultyStore::new(inner, self.clone()))
    }

    /// One more rule. Of several that strike one request, delays add up and the first fault counts.
    pub fn add(&self, rule: Rule) {
        let mut state = self.state.lock();
        let seed = state.seeds.u64();
        state.rules.push(ArmedRule::new(rule, seed));
    }

    /// Nothing goes wrong any more: no rules, no outage.
    pub fn clear(&self) {
        self.state.lock().rules.clear();
        self.set_outage(Outage::None);
    }

    /// Begins or ends an outage.
    pub fn set_outage(&self, outage: Outage) {
        self.outage.send_replace(outage);
    }

    /// Calls `hook` after every request that was carried out, before its reply: the moment to crash
    /// somebody. `None` takes it away.
    pub fn on_applied(&self, hook: Option<AppliedHook>) {
        self.state.lock().on_applied = hook;
    }

    /// How often each fault has struck, by its name.
    pub fn struck(&self) -> BTreeMap<&'static str, u64> {
        self.state.lock().struck.clone()
    }

    pub(super) fn outage(&self) -> watch::Receiver<Outage> {
        self.outage.subscribe()
    }

    pub(super) fn applied(&self, operation: Operation, path: &Path) {
        let hook = self.state.lock().on_applied.clone();
        if let Some(hook) = hook {
            hook(operation, path);
        }
    }

    pub(super) fn fate(&self, operation: Operation, path: &Path) -> Fate {
        let mut state = self.state.lock();
        let State { rules, struck, .. } = &mut *state;
        let mut fate = Fate::default();
        for armed in rules {
            if !armed.strikes(operation, path) {
                continue;
            }
            let (fault, number) = (armed.rule.fault, armed.number());
            match fault {
                Fault::Slow(least, most) => {
                    let delay = between(least, most, number);
                    fate.delay = Some(fate.delay.unwrap_or_default() + delay);
                }
                _ if fate.fault.is_some() => continue,
                _ => fate.fault = Some((fault, number)),
            }
            *struck.entry(name_of(fault)).or_default() += 1;
        }
        fate
    }
}

fn between(least: Duration, most: Duration, number: u64) -> Duration {
    let width = most.saturating_sub(least).as_millis() as u64;
    least + Duration::from_millis(number % (width + 1))
}

fn name_of(fault: Fault) -> &'static str {
    match fault {
        Fault::RequestLost => "request lost",
        Fault::ReplyLost => "reply lost",
        Fault::Unavailable => "unavailable",
        Fault::Throttled => "throttled",
        Fault::Full => "full",
        Fault::Slow(..) => "slow",
        Fault::TruncatedBody => "truncated body",
        Fault::BrokenBody => "broken body",
        Fault::WrongRange => "wrong range",
        Fault::FlippedBit => "flipped bit",
        Fault::Stale => "stale",
    }
}

impl fmt::Debug for FaultPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("FaultPlan")
            .field("outage", &*self.outage.borrow())
            .field("rules", &state.rules)
            .field("struck", &state.struck)
            .finish_non_exhaustive()
    }
}
