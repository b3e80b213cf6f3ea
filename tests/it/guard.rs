//! Watches code that is handed hostile bytes: panics are caught and kept quiet, memory is counted
//! by thread, and a hang ends the test with its name.

use std::alloc::{GlobalAlloc, Layout, System};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

/// The system's allocator, with the bytes held by each thread counted.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A single allocation above this is refused inside a guarded case.
const REFUSED: usize = 2 << 30;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    static CASE: RefCell<String> = const { RefCell::new(String::new()) };
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Says which case asked for too much; returning null ends the process.
fn refused(size: usize) -> bool {
    let refuse = size > REFUSED && GUARDED.get();
    if refuse {
        GUARDED.set(false);
        let case = CASE.take();
        eprintln!("an allocation of {size} bytes in: {case}");
    }
    refuse
}

fn count(change: isize) {
    let live = LIVE.get() + change;
    LIVE.set(live);
    PEAK.set(PEAK.get().max(live));
}

// SAFETY: every call goes to the system's allocator with the arguments that came in; the counters
// are plain thread-local cells, which allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if refused(layout.size()) {
            return std::ptr::null_mut();
        }
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if refused(layout.size()) {
            return std::ptr::null_mut();
        }
        count(layout.size() as isize);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if refused(size) {
            return std::ptr::null_mut();
        }
        count(size as isize - layout.size() as isize);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// What a guarded call did.
pub struct Outcome<T> {
    /// Its result, or the panic's message and place.
    pub result: Result<T, String>,
    /// Most bytes that it held at once.
    pub peak: u64,
    /// How long it took.
    pub time: Duration,
}

/// Runs code with its panics caught and its memory counted.
pub fn guarded<T>(code: impl FnOnce() -> T) -> Outcome<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| match GUARDED.get() {
            true => PANIC.set(info.to_string().replace('\n', " ")),
            false => usual(info),
        }));
    });
    let before = LIVE.get();
    PEAK.set(before);
    let nested = GUARDED.replace(true);
    let start = Instant::now();
    let result = panic::catch_unwind(AssertUnwindSafe(code));
    let time = start.elapsed();
    GUARDED.set(nested);
    Outcome {
        result: result.map_err(|payload| message(&payload)),
        peak: (PEAK.get() - before).max(0) as u64,
        time,
    }
}

fn message(payload: &Box<dyn Any + Send>) -> String {
    let kept = PANIC.take();
    match kept.is_empty() {
        true => format!("panic: {:?}", payload.downcast_ref::<String>()),
        false => kept,
    }
}

/// Ends the process with the name of the running case if one takes far too long.
pub struct Watch(Arc<Mutex<Option<(String, Instant)>>>);

impl Watch {
    /// Starts watching; each case may take this long.
    pub fn start(limit: Duration) -> Self {
        let state = Arc::new(Mutex::new(Some((String::from("start"), Instant::now()))));
        let seen = Arc::clone(&state);
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(Duration::from_millis(500));
                match &*seen.lock().unwrap() {
                    None => return,
                    Some((name, since)) if since.elapsed() > limit => {
                        eprintln!("no end of: {name}");
                        std::process::abort();
                    }
                    Some(_) => {}
                }
            }
        });
        Self(state)
    }

    /// Names the case that runs now.
    pub fn case(&self, name: impl FnOnce() -> String) {
        let name = name();
        CASE.set(name.clone());
        *self.0.lock().unwrap() = Some((name, Instant::now()));
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        *self.0.lock().unwrap() = None;
    }
}

#[test]
fn panics_are_caught_with_their_place_and_memory_is_counted() {
    let outcome = guarded(|| {
        let held = vec![1u8; 1 << 20];
        let index = held.len();
        held[index]
    });
    assert!(outcome.result.unwrap_err().contains("guard.rs"));
    assert!(outcome.peak >= 1 << 20 && outcome.peak < 1 << 21);
    assert_eq!(guarded(|| 7).result, Ok(7));
}
