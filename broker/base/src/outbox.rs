//! Where a step leaves its commands.

/// The commands of one or more steps, in the order in which the driver must perform them.
#[derive(Debug)]
pub struct Outbox<C> {
    commands: Vec<C>,
}

impl<C> Default for Outbox<C> {
    fn default() -> Self {
        Self { commands: Vec::new() }
    }
}

impl<C> Outbox<C> {
    /// An empty outbox.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a command behind those that are there.
    pub fn push(&mut self, command: C) {
        self.commands.push(command);
    }

    /// Takes all commands, oldest first; the outbox keeps its room.
    pub fn drain(&mut self) -> std::vec::Drain<'_, C> {
        self.commands.drain(..)
    }

    /// True when nothing waits.
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// How many commands wait.
    pub fn len(&self) -> usize {
        self.commands.len()
    }
}
