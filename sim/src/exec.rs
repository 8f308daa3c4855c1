//! Tasks: a slab with ages, a ready queue with seeded picks, and wakers that miss what is gone.

use crate::ctx::{self, Context};
use crate::guest;
use crate::rng::below;
use crate::slab::{Id, Slab};
use crate::world;
use rand_chacha::ChaCha8Rng;
use std::cell::RefCell;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};
use std::thread::ThreadId;

/// A future of this thread.
pub(crate) type Local = Pin<Box<dyn Future<Output = ()>>>;

/// One task.
pub(crate) struct Task {
    pub context: Context,
    /// Where it was made, if that is known.
    pub site: Option<&'static Location<'static>>,
    /// Who waits for its end.
    pub joiner: Option<Waker>,
    pub body: Rc<Body>,
    queued: bool,
}

/// What a poll needs of a task. Whoever polls it holds it too, since the task may be ended meanwhile.
pub(crate) struct Body {
    /// Borrowed while it is polled; none once it is over.
    pub future: RefCell<Option<Local>>,
    pub waker: Waker,
}

impl Body {
    /// Polls it, if it is not over.
    pub fn poll(&self) -> Poll<()> {
        let mut future = self.future.borrow_mut();
        let future = future.as_mut().expect("a task that is not over");
        future.as_mut().poll(&mut std::task::Context::from_waker(&self.waker))
    }

    /// It is polled right now.
    pub fn is_running(&self) -> bool {
        self.future.try_borrow().is_err()
    }
}

/// A future that must be dropped as the one who ran it. Where it is not buried it is leaked: that is so only while a panic
/// unwinds, when another panic from a Drop would end the process.
pub(crate) struct Corpse {
    pub context: Context,
    future: ManuallyDrop<Local>,
}

impl Corpse {
    /// Drops it now. The world must not be borrowed: what it drops may use the world.
    pub fn bury(self) {
        let before = ctx::enter(self.context);
        drop(ManuallyDrop::into_inner(self.future));
        ctx::enter(before);
    }
}

/// What to poll, and with what.
pub(crate) struct Turn {
    pub context: Context,
    /// Tasks were polled endlessly without any time passing.
    pub livelocked: bool,
    /// Leaked if its poll panics, as all of the world is then.
    pub body: ManuallyDrop<Rc<Body>>,
}

struct TaskWaker {
    id: Id,
    thread: ThreadId,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if ctx::run_thread() == Some(self.thread) {
            world::try_with(|world| world.wake_task(self.id));
        } else {
            self.wake_from_outside();
        }
    }
}

impl TaskWaker {
    /// By a guest; or the run is over.
    #[cold]
    fn wake_from_outside(&self) {
        let here = std::thread::current().id();
        assert_eq!(here, self.thread, "a simulated task was woken from another thread, where its wake would be lost");
        if guest::arrive() {
            world::try_with(|world| world.wake_task(self.id));
        }
    }
}

/// All tasks of a run.
pub(crate) struct Exec {
    pub tasks: Slab<Task>,
    ready: Vec<Id>,
    rng: ChaCha8Rng,
    thread: ThreadId,
    /// Futures of aborted tasks: dropped after the current poll, since whoever aborts may hold a lock that they need.
    pub graveyard: Vec<Corpse>,
    pub polls: u64,
}

impl Exec {
    /// No tasks.
    pub fn new(rng: ChaCha8Rng, thread: ThreadId) -> Self {
        Self { tasks: Slab::new(), ready: vec![], rng, thread, graveyard: vec![], polls: 0 }
    }

    /// A new task, not yet ready.
    pub fn insert(&mut self, context: Context, future: Local) -> Id {
        let thread = self.thread;
        self.tasks.insert_with(|id| Task {
            context,
            site: None,
            joiner: None,
            body: Rc::new(Body {
                future: RefCell::new(Some(future)),
                waker: Waker::from(Arc::new(TaskWaker { id, thread })),
            }),
            queued: false,
        })
    }

    /// Its host, if it is alive and not in the queue already; it counts as queued from now on.
    pub fn claim(&mut self, id: Id) -> Option<u32> {
        let task = self.tasks.get_mut(id).filter(|task| !task.queued)?;
        task.queued = true;
        Some(task.context.host)
    }

    /// Where a task was made.
    pub fn note_site(&mut self, id: Id, site: &'static Location<'static>) {
        if let Some(task) = self.tasks.get_mut(id) {
            task.site = Some(site);
        }
    }

    /// Somebody waits for a task's end, so that it can be told of. Gives back who was told of before, for dropping.
    pub fn joined_by(&mut self, id: Id, waker: &Waker) -> Option<Waker> {
        self.tasks.get_mut(id)?.joiner.replace(waker.clone())
    }

    /// It is ready.
    pub fn push(&mut self, id: Id) {
        self.ready.push(id);
    }

    /// Any of the ready ones.
    pub fn pick(&mut self) -> Option<Id> {
        match self.ready.len() {
            0 => None,
            1 => self.ready.pop(),
            len => Some(self.ready.swap_remove(below(&mut self.rng, len as u64) as usize)),
        }
    }

    /// A task's turn; `None` if it is gone.
    pub fn start(&mut self, id: Id) -> Option<Turn> {
        let task = self.tasks.get_mut(id)?;
        task.queued = false;
        self.polls += 1;
        Some(Turn { context: task.context, livelocked: false, body: ManuallyDrop::new(task.body.clone()) })
    }

    /// Its host.
    pub fn host(&self, id: Id) -> Option<u32> {
        self.tasks.get(id).map(|task| task.context.host)
    }

    /// Ends a task. If it is not running just now, its future is to be dropped by the caller; else whoever polls it will.
    pub fn remove(&mut self, id: Id) -> Option<Corpse> {
        let task = self.tasks.remove(id)?;
        let future = task.body.future.try_borrow_mut().ok()?.take()?;
        Some(Corpse { context: task.context, future: ManuallyDrop::new(future) })
    }

    /// Ends all tasks that match.
    pub fn remove_all(&mut self, matches: impl Fn(&Task) -> bool) -> Vec<Corpse> {
        let ids = self.tasks.ids(matches);
        ids.into_iter().filter_map(|id| self.remove(id)).collect()
    }

    /// Tasks that are alive.
    pub fn live(&self) -> usize {
        self.tasks.len()
    }
}
