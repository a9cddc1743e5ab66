//! A phone calls, is called, takes the call or does not.

use anyhow::{Context as _, Result, bail};
use whatsapp_rust::buffa::MessageField;
use whatsapp_rust::wacore_binary::Node;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;
use whatsapp_rust::waproto::whatsapp as wa;

use crate::account::{DeviceAddress, Form};
use crate::calls::{Call, CallState};
use crate::clock::unix_seconds;
use crate::stanza::{Stanza as _, bytes_child, fresh_id};
use crate::world::World;

/// What a phone says it can do, as in whatsapp-rust `wacore/stanza/call`.
const CAPABILITY: [u8; 7] = [0x01, 0x05, 0xf7, 0x09, 0xe0, 0xbb, 0x13];

impl World {
    /// A phone calls a number: every device of the other side rings. Gives the call's id.
    pub(crate) fn phone_calls(&mut self, from: &str, to: &str, form: Form, video: bool) -> Result<String> {
        self.phone_must_be_online(from)?;
        if from == to {
            bail!("a phone cannot call itself");
        }
        let id = fresh_id();
        let caller = DeviceAddress::phone(from);
        self.call_begins(&caller, to, &id, video, form == Form::Lid)?;
        self.phone_learns(from, to, None)?;
        if self.has_blocked(to, from) {
            return Ok(id);
        }
        let message = wa::Message {
            call: MessageField::some(wa::message::Call {
                call_key: Some(rand::random::<[u8; 32]>().to_vec()),
                ..Default::default()
            }),
            ..Default::default()
        };
        let devices = self
            .accounts
            .get(to)
            .context("the callee is not on WhatsApp")?
            .devices();
        for device in devices {
            let target = DeviceAddress::new(to, device);
            if let Some(enc) = self.phone_seals(from, &target, &message)? {
                let offer = NodeBuilder::new("offer")
                    .attr("call-id", id.as_str())
                    .children(offered(video, enc))
                    .build();
                self.carry(&caller, &target, &id, offer)?;
            }
        }
        Ok(id)
    }

    /// The owner of a phone ends a call: rejects what rings, hangs up what runs.
    pub(crate) fn phone_hangs_up(&mut self, number: &str, id: &str, reason: Option<&str>) -> Result<()> {
        let call = self.open_call(number, id)?;
        let rejects = call.to == number && call.state == CallState::Ringing;
        let mut action = NodeBuilder::new(if rejects { "reject" } else { "terminate" }).attr("call-id", id);
        if rejects {
            action = action.attr("count", "0");
        } else if let Some(reason) = reason {
            action = action.attr("reason", reason);
        }
        self.call_goes_on(&DeviceAddress::phone(number), &call, &action.build(), 0)
    }

    /// The owner of a phone takes a call.
    pub(crate) fn phone_takes_call(&mut self, number: &str, id: &str) -> Result<()> {
        let call = self.open_call(number, id)?;
        if call.to != number || call.state != CallState::Ringing {
            bail!("that call does not ring at this phone");
        }
        let mut children = audio();
        children.push(NodeBuilder::new("net").attr("medium", "2").build());
        children.push(NodeBuilder::new("encopt").attr("keygen", "2").build());
        let accept = NodeBuilder::new("accept")
            .attr("call-id", id)
            .children(children)
            .build();
        self.call_goes_on(&DeviceAddress::phone(number), &call, &accept, 0)
    }

    fn open_call(&self, number: &str, id: &str) -> Result<Call> {
        self.phone_must_be_online(number)?;
        let call = self.calls.of(number).find(|call| call.id == id);
        let call = call.context("the phone has no call with that id")?;
        if !call.is_open() {
            bail!("that call has ended");
        }
        Ok(call.clone())
    }

    /// A `<call>` out of a phone's queue.
    pub(crate) fn phone_gets_call(&mut self, number: &str, node: &Node) -> Result<()> {
        let from = node.jid("from").context("no sender")?;
        let from = self.accounts.resolve(&from).context("the sender is not on WhatsApp")?;
        let action = node
            .children()
            .and_then(|children| children.first())
            .context("an empty call")?;
        let id = action.text("call-id").context("no call id")?;
        let Some(call) = self.calls.get(&id).cloned() else {
            return Ok(());
        };
        match action.tag.as_ref() {
            "offer" => self.phone_rings(number, &from, &call, node, action),
            "accept" => self.caller_tells_others(number, &from, &call, "accepted_elsewhere"),
            "reject" => self.caller_tells_others(number, &from, &call, "rejected_elsewhere"),
            _ => Ok(()),
        }
    }

    /// The key of the call is for this phone, so it must be readable; then the caller is told that it rings.
    fn phone_rings(
        &mut self,
        number: &str,
        from: &DeviceAddress,
        call: &Call,
        node: &Node,
        offer: &Node,
    ) -> Result<()> {
        let enc = offer.child("enc").context("an offer without the key of the call")?;
        let kind = enc.text("type").unwrap_or_default();
        let sealed = enc.content().context("the key of the call is empty")?;
        let opened = self.open_sealed(
            number,
            from,
            &kind,
            &sealed,
            offer.child_content("device-identity").as_deref(),
        )?;
        let key = opened.message.call.as_option().and_then(|call| call.call_key.clone());
        if key.is_none_or(|key| key.len() != 32) {
            bail!("an offer without the key of the call");
        }
        self.phone_learns(number, &from.number, node.text("notify").as_deref())?;
        let caller = self.accounts.get(&call.from).context("the caller is gone")?;
        let rings = NodeBuilder::new("offer")
            .attr("call-id", call.id.as_str())
            .attr("call-creator", caller.device_jid(call.form(), call.from_device))
            .build();
        let account = self.accounts.get(number).context("no such phone")?;
        let receipt = NodeBuilder::new("receipt")
            .attr("from", account.jid(call.form()))
            .attr("id", node.text("id").unwrap_or_default())
            .attr("t", unix_seconds())
            .children([rings])
            .build();
        self.deliver(from, receipt)
    }

    /// When one device of the other side has taken the call, the others stop ringing.
    fn caller_tells_others(&mut self, number: &str, taker: &DeviceAddress, call: &Call, reason: &str) -> Result<()> {
        if call.creator() != DeviceAddress::phone(number) {
            return Ok(());
        }
        let devices = self.accounts.get(&call.to).context("the callee is gone")?.devices();
        for device in devices.into_iter().filter(|device| *device != taker.device) {
            let terminate = NodeBuilder::new("terminate")
                .attr("call-id", call.id.as_str())
                .attr("reason", reason)
                .build();
            self.carry(
                &DeviceAddress::phone(number),
                &DeviceAddress::new(&call.to, device),
                &call.id,
                terminate,
            )?;
        }
        Ok(())
    }
}

fn audio() -> Vec<Node> {
    ["8000", "16000"]
        .map(|rate| NodeBuilder::new("audio").attr("enc", "opus").attr("rate", rate).build())
        .to_vec()
}

/// The inside of an offer, in the order that real clients keep.
fn offered(video: bool, enc: Node) -> Vec<Node> {
    let mut children = audio();
    if video {
        children.push(
            NodeBuilder::new("video")
                .attr("enc", "h264")
                .attr("dec", "h264")
                .attr("orientation", "0")
                .attr("screen_width", "1920")
                .attr("screen_height", "1080")
                .attr("device_orientation", "0")
                .build(),
        );
    }
    children.push(NodeBuilder::new("net").attr("medium", "3").build());
    let mut capability = bytes_child("capability", CAPABILITY.to_vec());
    capability.attrs.insert("ver", "1");
    children.push(capability);
    children.push(enc);
    children.push(NodeBuilder::new("encopt").attr("keygen", "2").build());
    children
}
