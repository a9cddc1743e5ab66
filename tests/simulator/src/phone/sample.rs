//! Small real files, for callers who do not care which: a picture, a voice note of silence, a page, a sticker.

use std::io::Write as _;

use anyhow::{Result, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};

use crate::phone::media::Medium;

/// The sides of the sample picture.
const WIDTH: u8 = 64;
const HEIGHT: u8 = 48;
/// One transparent pixel.
const STICKER: &str = "UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQERGIiP4HAA==";
/// Samples per second that Opus counts in, and in one packet of 20 ms.
const OPUS_RATE: u64 = 48_000;
const OPUS_PACKET: u64 = 960;
/// A packet of silence.
const OPUS_SILENCE: [u8; 3] = [0xf8, 0xff, 0xfe];
/// Packets in one page: each is one segment, of which a page has at most 255.
const PACKETS_PER_PAGE: u64 = 250;

/// A sample and its type.
pub(crate) fn sample(medium: Medium, seconds: u32) -> Result<(Vec<u8>, &'static str)> {
    Ok(match medium {
        Medium::Image => (picture()?, "image/png"),
        Medium::Audio => (silence(seconds)?, "audio/ogg; codecs=opus"),
        Medium::Document => (page()?, "application/pdf"),
        Medium::Sticker => (BASE64_STANDARD.decode(STICKER)?, "image/webp"),
        _ => bail!("there is no sample of this kind; give the bytes as `base64`"),
    })
}

/// A PNG with two colours fading into each other.
fn picture() -> Result<Vec<u8>> {
    let mut rows = ZlibEncoder::new(Vec::new(), Compression::default());
    for y in 0..HEIGHT {
        // Every row begins with its filter: none.
        rows.write_all(&[0])?;
        for x in 0..WIDTH {
            rows.write_all(&[x * 3, y * 5, 128])?;
        }
    }
    let header = [
        &u32::from(WIDTH).to_be_bytes()[..],
        &u32::from(HEIGHT).to_be_bytes(),
        &[8, 2, 0, 0, 0],
    ]
    .concat();
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    for (name, content) in [(b"IHDR", header), (b"IDAT", rows.finish()?), (b"IEND", Vec::new())] {
        let mut crc = Crc::new();
        crc.update(name);
        crc.update(&content);
        png.extend(u32::try_from(content.len())?.to_be_bytes());
        png.extend(name);
        png.extend(content);
        png.extend(crc.sum().to_be_bytes());
    }
    Ok(png)
}

/// Opus in Ogg, as voice notes are: one channel, silent.
fn silence(seconds: u32) -> Result<Vec<u8>> {
    let serial = 1;
    let head = [
        &b"OpusHead\x01\x01"[..],
        &0u16.to_le_bytes(),
        &16_000u32.to_le_bytes(),
        &[0, 0, 0],
    ]
    .concat();
    let vendor = b"simulator";
    let tags = [
        &b"OpusTags"[..],
        &u32::try_from(vendor.len())?.to_le_bytes(),
        vendor,
        &0u32.to_le_bytes(),
    ]
    .concat();
    let mut ogg = ogg_page(serial, 0, 0, 2, &[&head])?;
    ogg.extend(ogg_page(serial, 1, 0, 0, &[&tags])?);
    let packets = (u64::from(seconds) * OPUS_RATE / OPUS_PACKET).max(1);
    let mut done = 0;
    let mut number = 2;
    while done < packets {
        let count = (packets - done).min(PACKETS_PER_PAGE);
        done += count;
        let last = if done == packets { 4 } else { 0 };
        let packets = vec![&OPUS_SILENCE[..]; usize::try_from(count)?];
        ogg.extend(ogg_page(serial, number, done * OPUS_PACKET, last, &packets)?);
        number += 1;
    }
    Ok(ogg)
}

fn ogg_page(serial: u32, number: u32, position: u64, flags: u8, packets: &[&[u8]]) -> Result<Vec<u8>> {
    let mut page = b"OggS\0".to_vec();
    page.push(flags);
    page.extend(position.to_le_bytes());
    page.extend(serial.to_le_bytes());
    page.extend(number.to_le_bytes());
    page.extend([0; 4]);
    page.push(u8::try_from(packets.len())?);
    for packet in packets {
        page.push(u8::try_from(packet.len())?);
    }
    page.extend(packets.concat());
    let sum = ogg_checksum(&page);
    page[22..26].copy_from_slice(&sum.to_le_bytes());
    Ok(page)
}

/// CRC-32 as Ogg has it: not reflected, without inversions.
fn ogg_checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |sum: u32, byte| {
        (0..8).fold(sum ^ u32::from(*byte) << 24, |sum, _| {
            (sum << 1) ^ if sum >> 31 == 1 { 0x04c1_1db7 } else { 0 }
        })
    })
}

/// A PDF with one empty page.
fn page() -> Result<Vec<u8>> {
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 100] >>",
    ];
    let mut pdf = b"%PDF-1.4\n".to_vec();
    let mut table = b"0000000000 65535 f \n".to_vec();
    for (index, object) in objects.iter().enumerate() {
        writeln!(table, "{:010} 00000 n ", pdf.len())?;
        writeln!(pdf, "{} 0 obj\n{object}\nendobj", index + 1)?;
    }
    let start = pdf.len();
    pdf.extend(b"xref\n0 4\n");
    pdf.extend(table);
    write!(pdf, "trailer\n<< /Size 4 /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n")?;
    Ok(pdf)
}

/// Width and height of a PNG or JPEG, where its head says so.
pub(crate) fn sides(bytes: &[u8]) -> Option<(u32, u32)> {
    let number = |at: usize, length: usize| {
        let digits = bytes.get(at..at + length)?;
        Some(
            digits
                .iter()
                .fold(0u32, |number, digit| number << 8 | u32::from(*digit)),
        )
    };
    if bytes.starts_with(b"\x89PNG") {
        return Some((number(16, 4)?, number(20, 4)?));
    }
    if !bytes.starts_with(&[0xff, 0xd8]) {
        return None;
    }
    let mut at = 2;
    loop {
        let marker = number(at, 2)?;
        let frame = matches!(marker, 0xffc0..=0xffcf) && !matches!(marker, 0xffc4 | 0xffc8 | 0xffcc);
        if frame {
            return Some((number(at + 7, 2)?, number(at + 5, 2)?));
        }
        if !(0xff01..=0xfffe).contains(&marker) {
            return None;
        }
        at += 2 + usize::try_from(number(at + 2, 2)?.max(2)).ok()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_has_the_sides_it_says() {
        let (png, _) = sample(Medium::Image, 0).unwrap();
        assert_eq!(sides(&png), Some((64, 48)));
        let jpeg = [
            &[0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff, 0xc0, 0, 11, 8][..],
            &[0, 30, 0, 40, 1, 1, 0x11, 0],
        ]
        .concat();
        assert_eq!(sides(&jpeg), Some((40, 30)));
        for broken in [&b""[..], b"\x89PNG", &[0xff, 0xd8, 0xff], &[0xff, 0xd8, 0, 0, 0, 0]] {
            assert_eq!(sides(broken), None);
        }
    }

    #[test]
    fn silence_lasts_as_long_as_asked_and_its_pages_are_whole() {
        let (ogg, _) = sample(Medium::Audio, 12).unwrap();
        let mut rest = &ogg[..];
        let mut position = 0;
        while !rest.is_empty() {
            assert!(rest.starts_with(b"OggS"));
            position = u64::from_le_bytes(rest[6..14].try_into().unwrap());
            let segments = usize::from(rest[26]);
            let length = 27
                + segments
                + rest[27..27 + segments]
                    .iter()
                    .map(|length| usize::from(*length))
                    .sum::<usize>();
            let mut page = rest[..length].to_vec();
            let sum = u32::from_le_bytes(page[22..26].try_into().unwrap());
            page[22..26].fill(0);
            assert_eq!(ogg_checksum(&page), sum);
            rest = &rest[length..];
        }
        assert_eq!(position, 12 * OPUS_RATE);
    }
}
