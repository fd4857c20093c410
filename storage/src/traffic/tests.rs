//! The classes beside each other, in time that stands still until all wait.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use super::*;

const MIB: u64 = 1 << 20;

fn quiet(options: TrafficOptions) -> Arc<Traffic> {
    Traffic::new(options, &four_at_a_time(), || 0)
}

/// As many requests of read-ahead as of compaction.
fn four_at_a_time() -> ColdOptions {
    ColdOptions { readahead_concurrency: 4, ..ColdOptions::default() }
}

/// Live traffic that appends `rate` bytes a second by the paused clock.
fn busy(options: TrafficOptions, rate: u64) -> Arc<Traffic> {
    let started = Instant::now();
    let appended = move || started.elapsed().as_millis() as u64 * rate / 1000;
    Traffic::new(options, &four_at_a_time(), appended)
}

async fn time_of(traffic: &Traffic, class: TrafficClass, requests: u64) -> Duration {
    let started = Instant::now();
    for _ in 0..requests {
        drop(traffic.admit(class, 8 * MIB).await);
    }
    started.elapsed()
}

#[tokio::test(start_paused = true)]
async fn without_live_traffic_nothing_is_slowed_down() {
    let traffic = quiet(TrafficOptions::default());
    for class in TrafficClass::ALL {
        assert_eq!(time_of(&traffic, class, 100).await, Duration::ZERO, "{class:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn compaction_yields_to_live_traffic_and_goes_on() {
    let traffic = busy(TrafficOptions::default(), 300_000);
    tokio::time::sleep(Duration::from_millis(150)).await;
    // 320 MiB at 32 MiB a second, less what an idle pace had saved up and the last request.
    let took = time_of(&traffic, TrafficClass::Compaction, 40).await;
    assert!((Duration::from_secs(9)..Duration::from_secs(11)).contains(&took), "{took:?}");
    assert_eq!(time_of(&traffic, TrafficClass::Demand, 40).await, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn compaction_is_never_slower_than_what_comes_in() {
    let traffic = busy(TrafficOptions::default(), 160 * MIB);
    tokio::time::sleep(Duration::from_millis(150)).await;
    let took = time_of(&traffic, TrafficClass::Compaction, 40).await;
    assert!((Duration::from_secs(1)..Duration::from_secs(3)).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn uploads_yield_and_stay_ahead_of_the_producers() {
    let traffic = busy(TrafficOptions::default(), 80 * MIB);
    tokio::time::sleep(Duration::from_millis(150)).await;
    let took = time_of(&traffic, TrafficClass::Upload, 100).await;
    let slowest = Duration::from_secs_f64(800.0 / 80.0);
    assert!(took > Duration::from_secs(3) && took < slowest, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_rate_for_history_holds_demand_back_and_drops_read_ahead() {
    let options = TrafficOptions { history_rate: Some(16 * MIB), ..TrafficOptions::default() };
    let traffic = quiet(options);
    let took = time_of(&traffic, TrafficClass::Demand, 20).await;
    assert!((Duration::from_secs(8)..Duration::from_secs(11)).contains(&took), "{took:?}");
    assert!(traffic.try_admit(TrafficClass::ReadAhead, MIB).is_none());
}

#[tokio::test(start_paused = true)]
async fn no_class_uses_up_what_another_needs() {
    let traffic = quiet(TrafficOptions::default());
    let mut held = Vec::new();
    while let Some(permit) = traffic.try_admit(TrafficClass::ReadAhead, MIB) {
        held.push(permit);
    }
    for class in [TrafficClass::Upload, TrafficClass::Demand] {
        assert!(traffic.try_admit(class, MIB).is_some(), "{class:?}");
    }
    let stats = traffic.stats(TrafficClass::ReadAhead);
    assert_eq!((stats.in_flight, stats.bytes_in_flight), (4, 4 * MIB));
    assert_eq!(stats.in_flight, stats.in_flight_max);
}

#[tokio::test(start_paused = true)]
async fn read_ahead_never_overtakes_compaction() {
    let traffic = quiet(TrafficOptions::default());
    let mut held: Vec<_> =
        (0..4).filter_map(|_| traffic.try_admit(TrafficClass::ReadAhead, MIB)).collect();
    let compaction = tokio::spawn({
        let traffic = Arc::clone(&traffic);
        async move { traffic.admit(TrafficClass::Compaction, MIB).await }
    });
    tokio::task::yield_now().await;
    assert!(!compaction.is_finished(), "the shared slots are taken");
    held.pop();
    assert!(traffic.try_admit(TrafficClass::ReadAhead, MIB).is_none(), "the slot is promised");
    compaction.await.expect("compaction gets it");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_goes_away_while_it_waits_leaves_its_place() {
    let traffic = quiet(TrafficOptions::default());
    let held: Vec<_> = (0..16).filter_map(|_| traffic.try_admit(TrafficClass::Demand, 1)).collect();
    let waiting = tokio::spawn({
        let traffic = Arc::clone(&traffic);
        async move { traffic.admit(TrafficClass::Demand, MIB).await }
    });
    tokio::task::yield_now().await;
    waiting.abort();
    assert!(waiting.await.is_err());
    drop(held);
    let stats = traffic.stats(TrafficClass::Demand);
    assert_eq!((stats.in_flight, stats.bytes_in_flight, stats.waits), (0, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn what_rests_is_noticed() {
    let appended = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&appended);
    let live = LiveRate::new(move || counted.load(Ordering::Relaxed));
    assert_eq!(live.now(), None);
    appended.store(1_000, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(live.now(), Some(10_000));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(live.now(), None);
}
