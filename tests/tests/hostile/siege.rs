//! A broker under attack, and the proof that it survived.

use std::time::Duration;

use antiphon_tests::{
    Batch, BrokerSetup, Footprint, PATIENCE, RawClient, Reaction, Stopwatch, TestBroker,
};

/// How much more memory the broker may hold after an attack.
const GROWTH_BYTES_MAX: u64 = 64 << 20;
/// Descriptors that come and go by themselves: files of the log and of the catalog.
const DESCRIPTORS_SLACK: usize = 16;
const CANARY: &str = "canary";
/// How long a victim of an attack may wait for an ordinary request.
const CANARY_LIMIT: Duration = Duration::from_secs(2);
/// How long a broker may take to close a hostile connection. The demand is "soon"; a busy machine
/// is not a hostile one.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// A broker under attack.
#[derive(Debug)]
pub(crate) struct Siege {
    pub(crate) broker: TestBroker,
    before: Footprint,
    pid: u32,
}

impl Siege {
    pub(crate) fn begin(name: &str) -> Self {
        // One line for each connection that is cut off is what the operator should see.
        Self::against(BrokerSetup::named(name).expect_log("connection closed"))
    }

    pub(crate) fn against(setup: BrokerSetup) -> Self {
        let broker = setup.start();
        let mut client = broker.client();
        client.create_topic(CANARY, 1);
        client.create_topic("t", 1);
        // What an ordinary client costs is no growth.
        for _ in 0..20 {
            client.produce(CANARY, 0, &Batch::of_size(100_000));
            client.fetch(CANARY, 0, 0);
        }
        drop(client);
        let (before, pid) = (broker.footprint(), broker.pid());
        Self { broker, before, pid }
    }

    /// The same broker after a restart, which is a new process with a footprint of its own.
    pub(crate) fn renewed(siege: Self) -> Self {
        let broker = siege.broker;
        broker.client().produce(CANARY, 0, &Batch::of_size(100_000));
        let (before, pid) = (broker.footprint(), broker.pid());
        Self { broker, before, pid }
    }

    pub(crate) fn raw(&self) -> RawClient {
        self.broker.raw()
    }

    /// Sends bytes on a new connection and sees what the broker does.
    pub(crate) fn reaction_to(&self, bytes: &[u8]) -> Reaction {
        let mut raw = self.raw();
        // The broker may cut the connection before it has all of it.
        let _ = raw.send_bytes(bytes);
        raw.reaction_within(SOON)
    }

    /// As [`Siege::reaction_to`], for the body of a request.
    pub(crate) fn reaction_to_body(&self, api_key: i16, version: i16, body: &[u8]) -> Reaction {
        let mut raw = self.raw();
        let _ = raw.send_body(api_key, version, body);
        raw.reaction_within(SOON)
    }

    /// Another client notices nothing.
    pub(crate) fn canary_sings(&self) {
        let watch = Stopwatch::start();
        let mut client = self.broker.client();
        let offset = client.produce(CANARY, 0, &Batch::of(&["alive"]));
        let found = client.fetch(CANARY, 0, offset).stored();
        assert_eq!(found.last().map(|record| record.text()).as_deref(), Some("alive"));
        assert!(watch.elapsed() < CANARY_LIMIT, "the canary took {:?}", watch.elapsed());
    }

    /// The attack is over; everything is as it was.
    pub(crate) fn survived(&mut self, attack: &str) {
        self.canary_sings();
        assert!(self.broker.is_running(), "{attack}: the broker is gone");
        assert_eq!(self.broker.pid(), self.pid);
        let (watch, limits) = (Stopwatch::start(), self.before);
        loop {
            let now = self.broker.footprint();
            let memory = now.resident <= limits.resident + GROWTH_BYTES_MAX;
            let descriptors = now.descriptors <= limits.descriptors + DESCRIPTORS_SLACK;
            if memory && descriptors {
                break;
            }
            assert!(watch.elapsed() < PATIENCE, "{attack}: {now:?}, before it {limits:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(self.broker.journal().count("panicked"), 0, "{attack}: a panic");
    }
}
