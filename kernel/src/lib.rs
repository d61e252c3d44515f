//! The fast half of Art32's log scrubbing, behind a C interface.
//!
//! It finds byte for byte what `agent/logs/scrub/reference.py` finds; `docs/scrubbing.md` says
//! what that is. Everything but this file and the parts of `scan.rs` and `blake2s.rs` for
//! AVX2 and AVX-512 is safe Rust.

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
mod out;
mod places;
mod replace;
pub mod requests;
pub mod scan;
mod span;
mod text;
mod tokens;

use config::Config;
use engine::Engine;
use scan::Instructions;
use span::KINDS;
use std::panic::{catch_unwind, AssertUnwindSafe};

/// Changes whenever a function or the settings change in a way that an older caller cannot know.
const ABI: u32 = 2;
const LONGEST_BLOCK: usize = 1 << 30;

pub const DONE: i32 = 0;
pub const WRONG_ARGUMENT: i32 = 1;
pub const DEFECT: i32 = 2;

#[no_mangle]
pub extern "C" fn art32_kernel_abi() -> u32 {
    ABI
}

/// Opens a scrubber with settings as in `config.rs`; `instructions` is 0 for all that the processor
/// has, 1 for none that not every one has, 2 for all but AVX-512. Null when the settings are not
/// understood.
///
/// # Safety
/// `settings` points to `length` bytes.
#[no_mangle]
pub unsafe extern "C" fn art32_kernel_open(
    settings: *const u8,
    length: usize,
    instructions: i32,
) -> *mut Engine {
    // SAFETY: the caller vouches for pointer and length.
    let settings = unsafe { slice(settings, length) };
    // What has gone wrong is told by the status; a message of Rust's could hold bytes of a log.
    std::panic::set_hook(Box::new(|_| {}));
    let instructions = match instructions {
        0 => Instructions::All,
        1 => Instructions::Plain,
        _ => Instructions::Narrow,
    };
    let opened = catch_unwind(|| {
        Config::parse(settings)
            .map(|config| Box::into_raw(Box::new(Engine::new(config, instructions))))
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
                *out = engine.out.as_slice().as_ptr();
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

/// The number of line feeds in a block.
///
/// # Safety
/// `block` points to `length` bytes.
#[no_mangle]
pub unsafe extern "C" fn art32_kernel_line_feeds(block: *const u8, length: usize) -> usize {
    // SAFETY: the caller vouches for pointer and length.
    let block = unsafe { slice(block, length) };
    // of 255 bytes at once, the counts fit into bytes, of which the processor adds many at once
    let count = |part: &[u8]| part.iter().fold(0u8, |sum, &byte| sum + u8::from(byte == b'\n'));
    block.chunks(255).map(|part| usize::from(count(part))).sum()
}

/// Takes apart the lines of a block that hold hits; see `requests.rs`. Returns the number of records
/// put into `out`, of 48 bytes and `mask` bytes each, or WRONG_ARGUMENT or DEFECT below zero.
///
/// # Safety
/// `block` points to `length` bytes, `hits` to `count` numbers, `out` to `room` bytes.
#[no_mangle]
pub unsafe extern "C" fn art32_kernel_requests(
    block: *const u8,
    length: usize,
    hits: *const u64,
    count: usize,
    mask: usize,
    out: *mut u8,
    room: usize,
) -> i64 {
    let sound = !block.is_null() && !hits.is_null() && !out.is_null();
    if !sound || length > LONGEST_BLOCK || mask > 8192 || room > isize::MAX as usize {
        return -i64::from(WRONG_ARGUMENT);
    }
    // SAFETY: the caller vouches for pointers and lengths.
    let (block, hits, out) = unsafe {
        (
            std::slice::from_raw_parts(block, length),
            std::slice::from_raw_parts(hits, count),
            std::slice::from_raw_parts_mut(out, room),
        )
    };
    match catch_unwind(AssertUnwindSafe(|| requests::write(block, hits, mask, out))) {
        Ok(Some(records)) => records as i64,
        Ok(None) => -i64::from(WRONG_ARGUMENT),
        Err(_) => -i64::from(DEFECT),
    }
}

unsafe fn slice<'a>(pointer: *const u8, length: usize) -> &'a [u8] {
    if pointer.is_null() || length == 0 {
        return &[];
    }
    // SAFETY: the caller vouches for pointer and length.
    unsafe { std::slice::from_raw_parts(pointer, length) }
}
