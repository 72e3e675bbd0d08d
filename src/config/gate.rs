//! What stands between a service that is up and the routers: keys of `[service.*]` and
//! `[service.*.damping]`.
use std::time::Duration;

use super::problem::Problem;
use super::table::{Located, Table, untext};
use super::value::Text;
use crate::service::damping;
use crate::service::gate::Config;

const DRAIN_TIME: Duration = Duration::from_secs(5);
/// Whoever wants more has taken one unit for another.
const LONGEST: Duration = Duration::from_secs(3600);
const FLAPS: u32 = 3;
const WITHIN: Duration = Duration::from_secs(600);
const HOLD: Duration = Duration::from_secs(30);
const MAX_HOLD: Duration = Duration::from_secs(600);
pub(super) const TICK: Duration = Duration::from_millis(1);

/// Takes the keys that go with it.
pub(super) fn gate(table: &mut Table<'_>, degrades: bool) -> Config {
    Config {
        drain_time: duration(table, "drain-time", DRAIN_TIME, Duration::ZERO),
        announce_delay: duration(table, "announce-delay", Duration::ZERO, Duration::ZERO),
        degrades,
        damping: table.subtable("damping", "service.NAME.damping").map(damping),
    }
}

/// `[service.*.damping]`, which may be empty
fn damping(mut table: Table<'_>) -> damping::Config {
    let flaps = table.number("flaps", 1..=100).map_or(FLAPS, |flaps| flaps.value);
    let within = duration(&mut table, "within", WITHIN, TICK);
    let hold = duration(&mut table, "hold", HOLD, TICK);
    let longest = table.optional::<Text<Duration>>("max-hold").map(untext);
    if let Some(Located { value, place }) = &longest {
        if *value > LONGEST {
            table.problem(Problem::new(place, "`max-hold` must be at most 1h"));
        } else if *value < hold {
            let message = format!("`max-hold` is shorter than `hold` ({hold:?})");
            table.problem(Problem::new(place, message));
        }
    }
    table.finish();
    let longest = longest.map_or(MAX_HOLD.max(hold), |longest| longest.value);
    damping::Config { flaps, within, hold, longest }
}

pub(super) fn duration(
    table: &mut Table<'_>,
    key: &'static str,
    default: Duration,
    shortest: Duration,
) -> Duration {
    let written = table.optional::<Text<Duration>>(key).map(untext);
    let Some(Located { value, place }) = written else { return default };
    if !(shortest..=LONGEST).contains(&value) {
        let range = if shortest.is_zero() { "at most" } else { "from 1ms to" };
        table.problem(Problem::new(&place, format!("`{key}` must be {range} 1h")));
    }
    value
}
