//! Just enough of ELF to tell a static binary: an image from scratch has no
//! loader, and the kernel's "no such file" for a missing one misleads.

use anyhow::{Result, bail};

const PT_INTERP: u32 = 3;

/// Checks that a binary runs in an empty image on this machine.
///
/// # Errors
/// When it is no 64-bit little-endian ELF for this machine, or needs a loader.
pub(crate) fn check_static(binary: &[u8]) -> Result<()> {
    let Some(header) = binary.get(..64).filter(|h| h.starts_with(b"\x7fELF")) else {
        bail!("is not an ELF binary: give the built program itself");
    };
    let machine = match std::env::consts::ARCH {
        "aarch64" => 0xb7,
        _ => 0x3e,
    };
    if header[4] != 2 || header[5] != 1 || u16::from_le_bytes([header[18], header[19]]) != machine {
        bail!("is not a binary for {}: build it for this machine", std::env::consts::ARCH);
    }
    let size = usize::from(u16::from_le_bytes([header[54], header[55]]));
    let count = usize::from(u16::from_le_bytes([header[56], header[57]]));
    let start = usize::try_from(u64::from_le_bytes([
        header[32], header[33], header[34], header[35], header[36], header[37], header[38], header[39],
    ]));
    for index in 0..count {
        let at = start.ok().and_then(|start| start.checked_add(index * size));
        let Some(&[a, b, c, d]) = at.and_then(|at| binary.get(at..at.checked_add(4)?)) else {
            bail!("is a damaged ELF binary: build it again");
        };
        if u32::from_le_bytes([a, b, c, d]) == PT_INTERP {
            bail!("is not static: build it with -C target-feature=+crt-static (Rust) or CGO_ENABLED=0 (Go)");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(kinds: &[u32]) -> Vec<u8> {
        let mut binary = vec![0_u8; 64];
        binary[..6].copy_from_slice(b"\x7fELF\x02\x01");
        binary[18] = if std::env::consts::ARCH == "aarch64" { 0xb7 } else { 0x3e };
        binary[32] = 64;
        binary[54] = 56;
        binary[56] = u8::try_from(kinds.len()).unwrap();
        for kind in kinds {
            let mut header = vec![0_u8; 56];
            header[..4].copy_from_slice(&kind.to_le_bytes());
            binary.extend(header);
        }
        binary
    }

    #[test]
    fn only_static_binaries_of_this_machine_pass() {
        let mut foreign = binary(&[1]);
        foreign[18] = 0x28;
        let mut cut = binary(&[1, PT_INTERP]);
        cut.truncate(100);
        for (what, bytes, says) in [
            ("static", binary(&[1, 2]), None),
            ("with a loader", binary(&[1, PT_INTERP]), Some("not static")),
            ("script", b"#!/bin/sh".to_vec(), Some("not an ELF")),
            ("empty", Vec::new(), Some("not an ELF")),
            ("foreign", foreign, Some("build it for this machine")),
            ("cut off", cut, Some("damaged")),
        ] {
            match (check_static(&bytes), says) {
                (Ok(()), None) => {}
                (Err(error), Some(says)) => assert!(error.to_string().contains(says), "{what}: {error}"),
                (outcome, _) => panic!("{what}: {outcome:?}"),
            }
        }
    }
}
