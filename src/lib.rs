//! WhatIsUp: a self-hosted WhatsApp gateway in one static binary.
