// Lets this process trust a certificate beside those it trusts anyway, so that clients that name no certificates of
// their own still verify the simulator's media servers.
import tls from 'node:tls';

export function trust(certificate) {
  const { createSecureContext } = tls;
  tls.createSecureContext = (options) => {
    const made = createSecureContext(options);
    made.context.addCACert(certificate);
    return made;
  };
}
