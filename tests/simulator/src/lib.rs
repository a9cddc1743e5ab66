//! A WhatsApp server and phones that speak the real wire protocol.
