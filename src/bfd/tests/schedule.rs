//! The schedule against what it stands for: a map that is searched.
use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::bfd::schedule::Schedule;

proptest! {
    #[test]
    fn the_earliest_is_next_whatever_was_set_and_removed(
        steps in vec((1u32..20, proptest::option::weighted(0.8, proptest::option::weighted(0.8, 0u64..30))), 0..200),
    ) {
        let start = start();
        let (mut schedule, mut model) = (Schedule::default(), BTreeMap::new());
        for (key, step) in steps {
            let key = discriminator(key);
            match step {
                Some(at) => {
                    let at = at.map(|at| start + millis(at));
                    schedule.set(key, at);
                    model.insert(key, at);
                }
                None => {
                    schedule.remove(key);
                    model.remove(&key);
                }
            }
            let earliest = model.values().flatten().min().copied();
            let next = schedule.next();
            prop_assert_eq!(next.map(|(at, _)| at), earliest);
            if let Some((at, key)) = next {
                prop_assert_eq!(model[&key], Some(at));
                prop_assert_eq!(schedule.due(at), Some(key));
                prop_assert_eq!(schedule.due(at - TICK), None);
            }
        }
    }
}
