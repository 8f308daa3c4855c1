//! What the generator knows while it draws the steps of one period.

use super::profile::Profile;
use crate::script::{Action, Cut, Link, Partition, Script, Span, Step, Target, Trigger};
use klamm_base::Draws;

/// Which fault families are on in this seed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct On {
    pub kill: bool,
    pub power_off: bool,
    pub pause: bool,
    pub cut: bool,
    pub one_way_cut: bool,
    pub slow: bool,
    pub skew: bool,
}

impl On {
    /// Draws each family by its share.
    pub fn draw(draws: &mut Draws, profile: &Profile) -> Self {
        let shares = profile.families;
        let mut on = |share: u64| draws.chance(share, 100);
        Self {
            kill: on(shares.kill),
            power_off: on(shares.power_off),
            pause: on(shares.pause),
            cut: on(shares.cut),
            one_way_cut: on(shares.one_way_cut),
            slow: on(shares.slow),
            skew: on(shares.skew),
        }
    }

    /// Some family that ends or stops a process.
    pub fn any_process(self) -> bool {
        self.kill || self.power_off || self.pause
    }

    /// Some family that cuts links.
    pub fn any_cut(self) -> bool {
        self.cut || self.one_way_cut
    }

    /// Anything at all.
    pub fn any(self) -> bool {
        self.any_process() || self.any_cut() || self.slow || self.skew
    }
}

/// One period of a script under drawing.
pub struct Draft<'a> {
    /// The seed's stream for the script.
    pub draws: &'a mut Draws,
    /// Families that are on.
    pub on: On,
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

    /// The end of a process by a family that is on, for a while: within the session or beyond it.
    pub fn outage(&mut self, target: Target) -> Option<Step> {
        let (kill, pause) = (self.on.kill, self.on.pause);
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
        if !self.on.power_off {
            return None;
        }
        let partition = match target.partition() {
            Some(partition) => partition.clone(),
            None => self.partition(),
        };
        let size = self.script.topics.iter().find(|t| t.name == partition.topic)?.replication;
        let lasts = self.around_session();
        Some(Step::new(Action::PowerOff(target)).when(Trigger::IsrHas { on: partition, size }).lasting(lasts))
    }

    /// A cut by a family that is on.
    pub fn cut(&mut self, from: Target, to: Target) -> Action {
        let one_way = match (self.on.cut, self.on.one_way_cut) {
            (true, true) => self.draws.chance(1, 2),
            (_, one_way) => one_way,
        };
        let hold = self.draws.chance(1, 4);
        let link = if one_way { Link::one_way(from, to) } else { Link::between(from, to) };
        Action::Cut(Cut { link, hold })
    }
}
