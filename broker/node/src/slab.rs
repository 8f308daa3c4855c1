//! Open things by number: a number is never used twice, so that a late answer cannot meet the wrong thing.

/// Holds open things; keys are `generation << 32 | place`.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// Keeps `value` under a new key.
    pub(crate) fn insert(&mut self, value: T) -> u64 {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { generation: 0, value: None });
            self.places.len() as u32 - 1
        });
        let slot = &mut self.places[place as usize];
        assert!(slot.value.is_none(), "a free place is empty");
        slot.value = Some(value);
        u64::from(slot.generation) << 32 | u64::from(place)
    }

    /// What stands under `key`.
    pub(crate) fn get_mut(&mut self, key: u64) -> Option<&mut T> {
        let place = self.places.get_mut(key as u32 as usize)?;
        place.value.as_mut().filter(|_| place.generation == (key >> 32) as u32)
    }

    /// Takes what stands under `key`; the key is spent.
    pub(crate) fn remove(&mut self, key: u64) -> Option<T> {
        let place = self.places.get_mut(key as u32 as usize)?;
        if place.generation != (key >> 32) as u32 {
            return None;
        }
        let value = place.value.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(key as u32);
        Some(value)
    }

    /// Everything that is open, with its key.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (u64, &mut T)> {
        self.places.iter_mut().enumerate().filter_map(|(index, place)| {
            let key = u64::from(place.generation) << 32 | index as u64;
            place.value.as_mut().map(|value| (key, value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spent_key_never_meets_what_came_after_it() {
        let mut slab = Slab::default();
        let first = slab.insert('a');
        assert_eq!(slab.remove(first), Some('a'));
        let second = slab.insert('b');
        assert_ne!(first, second);
        assert_eq!((slab.remove(first), slab.get_mut(first)), (None, None));
        assert_eq!(slab.iter_mut().map(|(key, value)| (key, *value)).collect::<Vec<_>>(), [(second, 'b')]);
    }
}
