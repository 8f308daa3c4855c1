//! Things with an id that is never mistaken for that of an earlier thing in the same place.

/// A place and its age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id {
    /// The place.
    pub slot: u32,
    /// How many things it held before.
    pub age: u32,
}

/// A table of things by [`Id`]. The place freed last is used first.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    slots: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    /// Empty.
    pub const fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }

    /// Keeps what `make` makes of its id.
    pub fn insert_with(&mut self, make: impl FnOnce(Id) -> T) -> Id {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, None));
            (self.slots.len() - 1) as u32
        });
        let entry = &mut self.slots[slot as usize];
        let id = Id { slot, age: entry.0 };
        assert!(entry.1.is_none(), "a free place holds nothing");
        entry.1 = Some(make(id));
        id
    }

    /// The thing, if it is still there.
    pub fn get(&self, id: Id) -> Option<&T> {
        self.slots.get(id.slot as usize).filter(|entry| entry.0 == id.age)?.1.as_ref()
    }

    /// The thing, if it is still there.
    pub fn get_mut(&mut self, id: Id) -> Option<&mut T> {
        self.slots.get_mut(id.slot as usize).filter(|entry| entry.0 == id.age)?.1.as_mut()
    }

    /// Takes the thing out.
    pub fn remove(&mut self, id: Id) -> Option<T> {
        let entry = self.slots.get_mut(id.slot as usize).filter(|entry| entry.0 == id.age)?;
        let thing = entry.1.take()?;
        entry.0 = entry.0.wrapping_add(1);
        self.free.push(id.slot);
        Some(thing)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// All of them, by place.
    pub fn iter(&self) -> impl Iterator<Item = (Id, &T)> {
        let id = |(slot, age): (usize, u32)| Id { slot: slot as u32, age };
        self.slots.iter().enumerate().filter_map(move |(slot, (age, thing))| Some((id((slot, *age)), thing.as_ref()?)))
    }

    /// The ids of those that match, by place.
    pub fn ids(&self, matches: impl Fn(&T) -> bool) -> Vec<Id> {
        self.iter().filter(|(_, thing)| matches(thing)).map(|(id, _)| id).collect()
    }
}
