//! Futures that are polled by hand, in the order in which they were woken.

use kafka::ConnId;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// What is polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Accepts connections, for ever.
    Accept,
    /// Drives one.
    Drive(ConnId),
}

/// Tasks that want to be polled, in the order in which they were woken.
#[derive(Clone, Debug, Default)]
pub(super) struct Woken(Arc<Mutex<VecDeque<Task>>>);

impl Woken {
    fn push(&self, task: Task) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(task);
    }

    /// The next; none if all rest.
    pub(super) fn pop(&self) -> Option<Task> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

struct WakeUp {
    task: Task,
    is_woken: AtomicBool,
    woken: Woken,
}

impl WakeUp {
    /// Of a task that is new, and woken by that.
    fn begin(task: Task, woken: &Woken) -> Arc<WakeUp> {
        let wake_up = Arc::new(WakeUp {
            task,
            is_woken: AtomicBool::new(false),
            woken: woken.clone(),
        });
        Arc::clone(&wake_up).wake();
        wake_up
    }
}

impl Wake for WakeUp {
    fn wake(self: Arc<Self>) {
        if !self.is_woken.swap(true, Relaxed) {
            self.woken.push(self.task);
        }
    }
}

/// A future, and how it is woken.
pub(super) struct Polled<T> {
    wake_up: Arc<WakeUp>,
    future: Pin<Box<dyn Future<Output = T>>>,
}

impl<T> Polled<T> {
    /// It wants to be polled at once.
    pub(super) fn new(task: Task, woken: &Woken, future: impl Future<Output = T> + 'static) -> Polled<T> {
        Polled {
            wake_up: WakeUp::begin(task, woken),
            future: Box::pin(future),
        }
    }

    /// Once.
    pub(super) fn poll(&mut self) -> Poll<T> {
        self.wake_up.is_woken.store(false, Relaxed);
        let waker = Waker::from(Arc::clone(&self.wake_up));
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }
}
