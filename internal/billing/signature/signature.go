// Package signature tells whether a webhook comes from who shares a secret with us: Standard Webhooks, Stripe, Paddle, a
// keyed hash by settings ([HMAC]), a header that equals a secret ([Static]), a login ([Basic]).
//
// What is verified are the bytes of the body as they came in, never what was read from them. Whatever is wrong, the answer
// is the one [ErrSignature]. The hash of every secret is computed and compared whether or not the headers can be read and
// whether or not one matched before, and comparing takes the same time wherever two texts differ. The package must never
// accept anything under no secret ([Secrets]'s zero value), nor put a secret, a signature or a body into an error.
//
// It does not bound the body, and does not remember what it saw: a request that was caught on its way is good again until
// its time is over, or for good where no time is signed. The caller does both.
//
// The facts are the providers' own pages: standardwebhooks.com, docs.stripe.com/webhooks#verify-manually,
// developer.paddle.com/webhooks/signature-verification, docs.recurly.com (signature verification), docs.btcpayserver.org
// (webhooks), docs.mollie.com (next-gen webhooks), and what their libraries do.
package signature

import "errors"

// ErrSignature is every fault of a request: its signature is missing, unreadable, wrong or out of time. Which is not said.
var ErrSignature = errors.New("the signature is missing, wrong or out of time")

const (
	// maxHeader is how long, in bytes, all values of one header may be together. Sixteen signatures fit.
	maxHeader = 4096
	// maxSignatures is how many signatures a request may carry. Senders that change their secret send two or three.
	maxSignatures = 16
)
