//! Calls the kernel as Python does, with each input in memory of its own exact size, so that a
//! sanitizer or valgrind sees any byte that is read or written beside it.
//!
//! On standard input: records of a letter, a length of four bytes and so many bytes: `S` settings,
//! `s` the same without special instructions, `B` a block, `H` hits in the block before, as in
//! `requests.rs`.

use art32_kernel::*;
use std::io::Read;

fn main() {
    let mut input = Vec::new();
    std::io::stdin().read_to_end(&mut input).expect("standard input");
    let mut rest = input.as_slice();
    let mut engine = std::ptr::null_mut();
    let mut block: Box<[u8]> = Box::new([]);
    let (mut bytes, mut lines, mut records) = (0, 0, 0);
    while !rest.is_empty() {
        let length = u32::from_le_bytes([rest[1], rest[2], rest[3], rest[4]]) as usize;
        let value: Box<[u8]> = rest[5..5 + length].into();
        match rest[0] {
            b'S' | b's' => unsafe {
                art32_kernel_close(engine);
                let portable = i32::from(rest[0] == b's');
                engine = art32_kernel_open(value.as_ptr(), value.len(), portable);
                assert!(!engine.is_null(), "settings that the kernel does not understand");
            },
            b'B' => unsafe {
                let (mut out, mut size, mut count) = (std::ptr::null(), 0, 0);
                let status = art32_kernel_scrub(
                    engine, value.as_ptr(), value.len(), &mut out, &mut size, &mut count,
                );
                assert_eq!(status, DONE);
                let scrubbed = std::slice::from_raw_parts(out, size);
                bytes += scrubbed.iter().filter(|&&byte| byte != 0).count();
                lines += art32_kernel_line_feeds(value.as_ptr(), value.len());
                block = value;
            },
            b'H' => unsafe {
                let numbers = value.chunks_exact(8).map(|eight| {
                    let mut number = [0; 8];
                    number.copy_from_slice(eight);
                    u64::from_le_bytes(number)
                });
                let hits: Box<[u64]> = numbers.collect();
                let mask = 3;
                let mut out = vec![0u8; hits.len() * (requests::HEAD + mask)].into_boxed_slice();
                let found = art32_kernel_requests(
                    block.as_ptr(), block.len(), hits.as_ptr(), hits.len(), mask,
                    out.as_mut_ptr(), out.len(),
                );
                assert!(found > 0 || found == -i64::from(WRONG_ARGUMENT));
                records += found.max(0);
            },
            other => panic!("a record of an unknown kind {}", other),
        }
        rest = &rest[5 + length..];
    }
    unsafe { art32_kernel_close(engine) };
    println!("{} bytes, {} lines, {} records of lines with hits", bytes, lines, records);
}
