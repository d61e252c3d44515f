//! The fast half of Art32's log scrubbing, behind a C interface.
//!
//! It finds byte for byte what `agent/logs/scrub/reference.py` finds; `docs/scrubbing.md` says
//! what that is. Everything but this file and the AVX2 parts of `scan.rs` and
//! `blake2s.rs` is safe Rust.

#![deny(unsafe_op_in_unsafe_fn)]

mod anchors;
pub mod blake2s;
mod bytes;
pub mod config;
pub mod engine;
mod fields;
mod find;
mod ipv4;
mod ipv6;
mod names;
mod replace;
pub mod scan;
mod span;
mod text;
mod tokens;

use config::Config;
use engine::Engine;
use span::KINDS;
use std::panic::{catch_unwind, AssertUnwindSafe};

/// Changes whenever a function or the settings change in a way that an older caller cannot know.
const ABI: u32 = 1;
const LONGEST_BLOCK: usize = 1 << 30;

pub const DONE: i32 = 0;
pub const WRONG_ARGUMENT: i32 = 1;
pub const DEFECT: i32 = 2;

#[no_mangle]
pub extern "C" fn art32_kernel_abi() -> u32 {
    ABI
}

/// Opens a scrubber with settings as in `config.rs`; `portable` is not 0 to do without special
/// instructions. Null when the settings are not understood.
///
/// # Safety
/// `settings` points to `length` bytes.
#[no_mangle]
pub unsafe extern "C" fn art32_kernel_open(
    settings: *const u8,
    length: usize,
    portable: i32,
) -> *mut Engine {
    // SAFETY: the caller vouches for pointer and length.
    let settings = unsafe { slice(settings, length) };
    // What has gone wrong is told by the status; a message of Rust's could hold bytes of a log.
    std::panic::set_hook(Box::new(|_| {}));
    let opened = catch_unwind(|| {
        Config::parse(settings)
            .map(|config| Box::into_raw(Box::new(Engine::new(config, portable != 0))))
    });
    match opened {
        Ok(Some(engine)) => engine,
        _ => std::ptr::null_mut(),
    }
}

/// Scrubs a block. `*out` and `*out_length` are the result, good until the next call; `*lines` is
/// the number of lines. DONE, WRONG_ARGUMENT, or DEFECT, after which the scrubber must be closed.
///
/// # Safety
/// `engine` comes from `art32_kernel_open`, `block` points to `length` bytes, the others to where
/// the results go. One call at a time.
#[no_mangle]
pub unsafe extern "C" fn art32_kernel_scrub(
    engine: *mut Engine,
    block: *const u8,
    length: usize,
    out: *mut *const u8,
    out_length: *mut usize,
    lines: *mut u64,
) -> i32 {
    if engine.is_null() || length > LONGEST_BLOCK {
        return WRONG_ARGUMENT;
    }
    // SAFETY: the caller vouches for all pointers.
    let (engine, block) = unsafe { (&mut *engine, slice(block, length)) };
    match catch_unwind(AssertUnwindSafe(|| engine.scrub(block))) {
        Ok(count) => {
            // SAFETY: as above.
            unsafe {
                *out = engine.out.as_ptr();
                *out_length = engine.out.len();
                *lines = count;
            }
            DONE
        }
        Err(_) => DEFECT,
    }
}

/// Copies the counts of all kinds, in the order of `Kind`.
///
/// # Safety
/// `counts` points to room for as many numbers as there are kinds.
#[no_mangle]
pub unsafe extern "C" fn art32_kernel_counts(engine: *const Engine, counts: *mut u64) {
    // SAFETY: the caller vouches for both pointers.
    unsafe { std::ptr::copy_nonoverlapping((*engine).counts.as_ptr(), counts, KINDS) };
}

/// Closes a scrubber.
///
/// # Safety
/// `engine` comes from `art32_kernel_open` and is not used again.
#[no_mangle]
pub unsafe extern "C" fn art32_kernel_close(engine: *mut Engine) {
    if !engine.is_null() {
        // SAFETY: it was made by Box::into_raw.
        let engine = unsafe { Box::from_raw(engine) };
        drop(catch_unwind(AssertUnwindSafe(|| drop(engine))));
    }
}

unsafe fn slice<'a>(pointer: *const u8, length: usize) -> &'a [u8] {
    if pointer.is_null() || length == 0 {
        return &[];
    }
    // SAFETY: the caller vouches for pointer and length.
    unsafe { std::slice::from_raw_parts(pointer, length) }
}
