//! Drawing a QR code: PNG, SVG and blocks for a terminal.
//!
//! Pure: text in, picture out. The quiet zone of four modules is part of every form, since phones need it on dark
//! backgrounds (ISO/IEC 18004, section 6.3.8).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use qrcode::{Color, EcLevel, QrCode};

/// Pixels a module in the PNG; a pairing code then is about 400 pixels wide.
const PIXELS_A_MODULE: usize = 6;

/// Modules of white around the code.
const QUIET_MODULES: usize = 4;

/// The text cannot become a QR code.
#[derive(Debug, thiserror::Error)]
pub enum QrProblem {
    /// More text than the largest QR code holds.
    #[error("the text is too long for a QR code")]
    TooLong,
    /// The PNG encoder failed.
    #[error("the picture could not be encoded")]
    Picture(#[from] png::EncodingError),
}

fn encode(text: &str) -> Result<QrCode, QrProblem> {
    QrCode::with_error_correction_level(text, EcLevel::L).map_err(|_| QrProblem::TooLong)
}

/// The code as a greyscale PNG.
pub fn png(text: &str) -> Result<Vec<u8>, QrProblem> {
    let code = encode(text)?;
    let modules = code.width();
    let side = (modules + 2 * QUIET_MODULES) * PIXELS_A_MODULE;
    let mut pixels = vec![0xff_u8; side * side];
    for (index, color) in code.to_colors().into_iter().enumerate() {
        if color == Color::Light {
            continue;
        }
        let (x, y) = (index % modules + QUIET_MODULES, index / modules + QUIET_MODULES);
        for row in 0..PIXELS_A_MODULE {
            let start = (y * PIXELS_A_MODULE + row) * side + x * PIXELS_A_MODULE;
            pixels[start..start + PIXELS_A_MODULE].fill(0);
        }
    }
    let mut picture = Vec::new();
    // At most 185 modules of 6 pixels: far inside u32.
    let side = u32::try_from(side).map_err(|_| QrProblem::TooLong)?;
    let mut encoder = png::Encoder::new(&mut picture, side, side);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.write_header()?.write_image_data(&pixels)?;
    Ok(picture)
}

/// The PNG as a `data:` URL, the form in which it travels inside JSON.
pub fn data_url(text: &str) -> Result<String, QrProblem> {
    Ok(format!("data:image/png;base64,{}", BASE64_STANDARD.encode(png(text)?)))
}

/// The code as a standalone SVG document.
pub fn svg(text: &str) -> Result<String, QrProblem> {
    Ok(encode(text)?
        .render::<qrcode::render::svg::Color<'_>>()
        .min_dimensions(256, 256)
        .build())
}

/// The code as half-block characters, dark on light whatever the terminal's colours are.
pub fn terminal(text: &str) -> Result<String, QrProblem> {
    use qrcode::render::unicode::Dense1x2;
    // Terminals are mostly dark: light modules are drawn, dark ones left open.
    Ok(encode(text)?
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Light)
        .light_color(Dense1x2::Dark)
        .build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_square_and_begins_and_ends_white() {
        let picture = png("hello").unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(picture)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!(info.width, info.height);
        assert_eq!((pixels[0], pixels[pixels.len() - 1]), (0xff, 0xff));
        assert!(pixels.contains(&0));
    }

    #[test]
    fn text_beyond_the_largest_code_is_an_error_and_no_panic() {
        assert!(matches!(png(&"x".repeat(10_000)), Err(QrProblem::TooLong)));
    }
}
