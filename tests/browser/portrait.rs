//! The pictures of the README. `WHATISUP_RENEW_PICTURES=1 tests/run -E 'test(portrait)'` puts them into
//! `assets/screenshots`; without, they are only taken, so that they can be renewed at any time.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::driver::{Browser, Look};
use super::inspect::{DRAWN, pictures_folder};
use crate::harness::{FRIEND, Gateway, Instance, Simulator};

/// What a README may cost its reader, per picture.
const LARGEST: usize = 150_000;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Makes an instance and links it to a phone.
async fn linked(gateway: &Gateway, simulator: &Simulator, name: &str, phone: &str) -> Instance {
    let instance = gateway.create(name).await;
    simulator.scan(phone, &instance.qr().await).await;
    instance.becomes("connected").await;
    instance
}

/// The same picture in fewer bytes: without its unused transparency, and packed with patience.
fn squeezed(picture: &[u8]) -> Vec<u8> {
    let mut reader = png::Decoder::new(std::io::Cursor::new(picture)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    let step = info.color_type.samples();
    let opaque: Vec<u8> = pixels
        .chunks_exact(step)
        .flat_map(|pixel| &pixel[..3])
        .copied()
        .collect();
    [png::Filter::NoFilter, png::Filter::Adaptive]
        .into_iter()
        .map(|filter| {
            let mut packed = Vec::new();
            let mut encoder = png::Encoder::new(&mut packed, info.width, info.height);
            encoder.set_color(png::ColorType::Rgb);
            encoder.set_depth(png::BitDepth::Eight);
            encoder.set_compression(png::Compression::High);
            encoder.set_filter(filter);
            let mut writer = encoder.write_header().unwrap();
            writer.write_image_data(&opaque).unwrap();
            writer.finish().unwrap();
            packed
        })
        .min_by_key(Vec::len)
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_office_full_of_phones_is_photographed_for_the_readme() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let mut up = Vec::new();
    for (name, phone, later) in [
        ("Fulfilment UK", "447700900312", 13 * DAY),
        ("Loja Centro", "5511912348870", HOUR),
        ("Loja Norte", "5511966501192", 9 * DAY),
        ("Turnos Clínica Rosario", "5493415550187", 3 * DAY),
        ("Entregas Madrid", "34612904771", 4 * DAY),
        ("Boletos", "5511940028922", 2 * DAY),
        ("Plantão Farmácia São João", "5551981147730", 7 * HOUR),
        ("Agenda Dra. Helena", "5521997024415", 10 * HOUR),
    ] {
        up.push(linked(&gateway, &simulator, name, phone).await);
        gateway.advance(later).await;
    }
    let support = linked(&gateway, &simulator, "Suporte Curitiba", "5541998712034").await;
    let debts = linked(&gateway, &simulator, "Cobranza México", "525541708826").await;
    gateway.create("Staging").await;
    gateway.advance(2 * DAY).await;
    debts.act("disconnect").await;
    simulator.unlink_all("5541998712034").await;
    support.becomes("failed").await;
    gateway.advance(51 * MINUTE).await;
    gateway.create("Reservas Hotel Sol").await.qr().await;
    for instance in &up {
        instance.becomes("connected").await;
    }

    let browser = Browser::start().await;
    browser.open(&gateway, "#/").await;
    browser.reads("answer", "8 of 12 are up").await;
    let [shop, clinic] = [&up[1], &up[7]];
    shop.send(FRIEND, "Seu pedido saiu para entrega.").await;
    clinic.send(FRIEND, "Lembrete: consulta amanhã às 9h.").await;
    shop.settles().await;
    clinic.settles().await;
    browser.see("[data-testid=event][data-event='message.delivered']").await;
    // The picture shows a gateway; that this one is a rehearsal is said elsewhere.
    browser.run("document.getElementById('sandbox').hidden = true").await;

    // As high as what it shows: nothing to scroll, and room below the last line.
    let tall = browser.evaluate(DRAWN, None).await.as_u64().unwrap();
    let height = u32::try_from(tall).unwrap();
    for scheme in ["light", "dark"] {
        let look = Look {
            scheme,
            still: true,
            width: 1280,
            height,
        };
        browser.look(look).await;
        browser
            .until(
                "the colours",
                &format!("matchMedia('(prefers-color-scheme: {scheme})').matches"),
            )
            .await;
        let picture = browser.cdp("Page.captureScreenshot", json!({})).await;
        let picture = STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
        let picture = squeezed(&picture);
        assert!(picture.len() <= LARGEST, "{scheme}: {} bytes", picture.len());
        let mut folders = vec![pictures_folder()];
        if std::env::var_os("WHATISUP_RENEW_PICTURES").is_some() {
            folders.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/screenshots"));
        }
        for folder in folders {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(format!("overview-{scheme}.png")), &picture).unwrap();
        }
    }
}
