//! A second opinion on signatures: `XEdDSA` verified on the bare curve, sharing nothing with the simulator's own code.

use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::montgomery::MontgomeryPoint;
use curve25519_dalek::scalar::Scalar;
use sha2::{Digest as _, Sha512};

/// Whether `signature` over `message` was made with the private half of the X25519 key `public`.
pub fn verifies(public: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let (Ok(public), Ok(signature)) = (<[u8; 32]>::try_from(public), <[u8; 64]>::try_from(signature)) else {
        return false;
    };
    let sign = signature[63] >> 7;
    let Some(point) = MontgomeryPoint(public).to_edwards(sign) else {
        return false;
    };
    let (r, mut s) = (
        <[u8; 32]>::try_from(&signature[..32]).unwrap(),
        <[u8; 32]>::try_from(&signature[32..]).unwrap(),
    );
    s[31] &= 0x7f;
    let Some(s) = Option::<Scalar>::from(Scalar::from_canonical_bytes(s)) else {
        return false;
    };
    let hash = Sha512::new()
        .chain_update(r)
        .chain_update(point.compress().as_bytes())
        .chain_update(message)
        .finalize();
    let h = Scalar::from_bytes_mod_order_wide(&hash.into());
    let expected = EdwardsPoint::vartime_double_scalar_mul_basepoint(&h, &-point, &s);
    expected.compress() == CompressedEdwardsY(r)
}
