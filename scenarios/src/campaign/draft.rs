//! What the generator knows while it draws the steps of one period.

use super::profile::Profile;
use crate::script::{Action, Cut, Link, Partition, Script, Span, Step, Target, Trigger};
use klamm_base::Draws;
use klamm_sim::{FAULTS, LinkState};
use std::collections::BTreeSet;

/// Families that older profiles know. They are drawn from one stream, in this order; every other one has its own.
const FIRST: [&str; 7] = ["kill", "power-off", "pause", "cut", "one-way-cut", "slow", "skew"];

/// Every fault family that a campaign can draw: the lines of [`FAULTS`].
pub fn families() -> impl Iterator<Item = &'static str> {
    FAULTS.iter().map(|info| info.name)
}

/// Which fault families are on in this seed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct On(BTreeSet<&'static str>);

impl On {
    /// These families.
    #[cfg(test)]
    pub fn these(names: &[&'static str]) -> Self {
        Self(names.iter().copied().collect())
    }

    /// Draws each family by its share; the first ones from `draws`.
    pub fn draw(draws: &mut Draws, seed: u64, profile: &Profile) -> Self {
        let first: BTreeSet<&str> =
            FIRST.into_iter().filter(|name| draws.chance(profile.families.share(name), 100)).collect();
        let is_on = |name: &&'static str| {
            let share = profile.families.share(name);
            share > 0 && Draws::named(seed, &format!("family/{name}")).chance(share, 100)
        };
        Self(families().filter(|name| !FIRST.contains(name)).filter(is_on).chain(first).collect())
    }

    /// True if that family is on.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// Some family that ends or stops a process.
    pub fn any_process(&self) -> bool {
        self.has("kill") || self.has("power-off") || self.has("pause")
    }

    /// Some family that cuts links.
    pub fn any_cut(&self) -> bool {
        self.has("cut") || self.has("one-way-cut")
    }

    /// Any of the first families.
    pub fn any_first(&self) -> bool {
        FIRST.iter().any(|name| self.has(name))
    }

    /// The others that are on, in the order of the list.
    pub fn others(&self) -> Vec<&'static str> {
        families().filter(|name| !FIRST.contains(name) && self.has(name)).collect()
    }
}

/// One period of a script under drawing.
pub struct Draft<'a> {
    /// The seed's stream for the script.
    pub draws: &'a mut Draws,
    /// Families that are on.
    pub on: &'a On,
    /// The one broker that silent damage may strike in this seed, so that other copies stay whole.
    pub victim: u32,
    /// The script so far: cluster, topics and clients stand.
    pub script: &'a Script,
    /// When the period begins.
    pub from: Span,
    /// When it ends.
    pub until: Span,
}

impl Draft<'_> {
    /// An instant within the period.
    pub fn instant(&mut self) -> Span {
        Span::ms(self.draws.between(self.from.as_ms(), self.until.as_ms().max(self.from.as_ms())))
    }

    /// A partition of the script.
    pub fn partition(&mut self) -> Partition {
        let all = self.script.partitions();
        self.draws.pick(&all).clone()
    }

    /// A broker by name.
    pub fn broker(&mut self) -> Target {
        Target::Broker(self.draws.between(1, u64::from(self.script.cluster.brokers)) as u32)
    }

    /// A producer of the script.
    pub fn producer(&mut self) -> String {
        let producer = self.draws.below(self.script.producers.len() as u64) as usize;
        self.script.producers[producer].name.clone()
    }

    /// `broker.session.timeout.ms` of the script.
    pub fn session_ms(&self) -> u64 {
        crate::script::broker_ms(&self.script.cluster.config, "broker.session.timeout.ms")
    }

    /// `request.timeout.ms` of a producer.
    pub fn request_timeout_ms(&self, producer: &str) -> u64 {
        let spec = self.script.producers.iter().find(|p| p.name == producer).expect("a producer of the script");
        crate::script::producer_ms(&spec.config, "request.timeout.ms")
    }

    /// A length of `low..=high` percent of the session, in whole milliseconds.
    pub fn of_session(&mut self, low: u64, high: u64) -> Span {
        let percent = self.draws.between(low, high);
        Span::ms((self.session_ms() * percent / 100).max(1))
    }

    /// Longer than the session, so that the controller notices, by up to so many milliseconds.
    pub fn beyond_session(&mut self, most_ms: u64) -> Span {
        Span::ms(self.session_ms() + self.draws.between(100, most_ms))
    }

    /// Short of the session or beyond it, as likely.
    pub fn around_session(&mut self) -> Span {
        if self.draws.chance(1, 2) { self.of_session(5, 90) } else { self.beyond_session(3_000) }
    }

    /// Short or shorter: up to 5 ms, 50 ms or 1 s, each as likely.
    pub fn soon(&mut self) -> Span {
        let most = *self.draws.pick(&[5_000, 50_000, 1_000_000]);
        Span(self.draws.between(0, most) * 1_000)
    }

    /// `replica.lag.time.max.ms` of the script.
    pub fn lag_ms(&self) -> u64 {
        crate::script::broker_ms(&self.script.cluster.config, "replica.lag.time.max.ms")
    }

    /// As [`Self::soon`], but no longer than `replica.fetch.backoff.ms`: a follower that failed to fetch has not asked again.
    pub fn within_backoff(&mut self) -> Span {
        let backoff = crate::script::broker_ms(&self.script.cluster.config, "replica.fetch.backoff.ms") * 1_000;
        let most = *self.draws.pick(&[5_000, 50_000, 1_000_000]);
        Span(self.draws.between(0, most.min(backoff)) * 1_000)
    }

    /// Replicas of the partition.
    pub fn replication(&self, partition: &Partition) -> u32 {
        self.script.topics.iter().find(|topic| topic.name == partition.topic).map_or(1, |topic| topic.replication)
    }

    /// The end of a process by a family that is on, for a while: within the session or beyond it.
    pub fn outage(&mut self, target: Target) -> Option<Step> {
        let (kill, pause) = (self.on.has("kill"), self.on.has("pause"));
        let lasts = self.around_session();
        let action = match (kill, pause, self.draws.chance(1, 2)) {
            (true, true, true) | (true, false, _) => Action::Crash(target),
            (_, true, _) => Action::Pause(target),
            (false, false, _) => return self.power_loss(target),
        };
        Some(Step::new(action).lasting(lasts))
    }

    /// Power loss that leaves other copies: it waits for a full in-sync set of some partition, and nothing else of this
    /// step's making is off at that instant. A script that destroys every copy says so with steps of its own.
    pub fn power_loss(&mut self, target: Target) -> Option<Step> {
        if !self.on.has("power-off") {
            return None;
        }
        let partition = match target.partition() {
            Some(partition) => partition.clone(),
            None => self.partition(),
        };
        let lasts = self.around_session();
        Some(Step::new(Action::PowerOff(target)).when(self.in_sync(partition)?).lasting(lasts))
    }

    /// Every replica of the partition is in sync.
    pub fn in_sync(&self, partition: Partition) -> Option<Trigger> {
        let size = self.replication(&partition);
        Some(Trigger::IsrHas { on: partition, size })
    }

    /// A cut by a family that is on.
    pub fn cut(&mut self, from: Target, to: Target) -> Action {
        let one_way = match (self.on.has("cut"), self.on.has("one-way-cut")) {
            (true, true) => self.draws.chance(1, 2),
            (_, one_way) => one_way,
        };
        let state = if self.draws.chance(1, 4) { LinkState::Stalled } else { LinkState::BlackHole };
        let link = if one_way { Link::one_way(from, to) } else { Link::between(from, to) };
        Action::Cut(Cut { link, state })
    }
}
