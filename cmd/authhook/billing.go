package main

import (
	"os"
	"strings"

	"authhook/internal/billing"
	"authhook/internal/billing/custom"
	"authhook/internal/billing/events"
	"authhook/internal/billing/paddle"
	"authhook/internal/billing/signature"
	"authhook/internal/billing/stripe"
)

// billingFlags say how billing events are read, which a command that applies them must know as the service does.
type billingFlags struct {
	StripeMode    string `group:"Billing" default:"live" enum:"live,test" placeholder:"live|test" help:"Which payments of Stripe count: live or test."`
	StripeAccount string `group:"Billing" placeholder:"ACCOUNT" help:"The connected account of Stripe (acct_…) whose payments count. The account's own when left out."`
	Billing       string `group:"Billing" placeholder:"FILE" help:"A file that describes other billing systems: how their events are signed and read."`
}

// billingSecrets are what billing systems sign with. A system is served at /billing/NAME once there is a secret of it.
type billingSecrets struct {
	StripeSecret     *string `group:"Billing" placeholder:"SECRET,…" help:"The signing secret of Stripe's webhook endpoint (whsec_…); several, with commas between, while it is changed. Serves /billing/stripe."`
	StripeSecretFile *string `group:"Billing" placeholder:"FILE" help:"A file that holds the same."`
	PaddleSecret     *string `group:"Billing" placeholder:"SECRET,…" help:"The secret key of Paddle's notification destination; several likewise. Serves /billing/paddle."`
	PaddleSecretFile *string `group:"Billing" placeholder:"FILE" help:"A file that holds the same."`
	EventsSecret     *string `group:"Billing" placeholder:"SECRET,…" help:"The secret with which your own billing signs, as Standard Webhooks has it (whsec_…); several likewise. Serves /billing/events."`
	EventsSecretFile *string `group:"Billing" placeholder:"FILE" help:"A file that holds the same."`
	EventsSecretForm string  `group:"Billing" default:"decoded" enum:"decoded,text" placeholder:"decoded|text" help:"What is the key of such a secret: what is after whsec_, decoded from Base64, or the whole text as it stands, as of older Polar endpoints."`
}

// providers are billing systems, for those who verify their events and for those who read them.
type providers struct {
	// all can read events, also those of a system that no secret is known of: what came when one was is still read.
	all []billing.Provider
	// served are those whose signatures can be verified.
	served []billing.Provider
}

func (p *providers) add(one billing.Provider, verifies bool) {
	p.all = append(p.all, one)
	if verifies {
		p.served = append(p.served, one)
	}
}

// names are the names of providers.
func names(list []billing.Provider) []string {
	all := make([]string, len(list))
	for i, p := range list {
		all[i] = p.Name()
	}
	return all
}

// providers makes the billing systems that the settings name. Nothing of a secret is ever in the error.
func (f *billingFlags) providers(secrets *billingSecrets) (p providers, err error) {
	standard := func(list string) (signature.Secrets, error) {
		return signature.ParseStandardSecrets(list, secrets.EventsSecretForm == "text")
	}
	own, ownGiven, err := givenSecrets("events-secret", secrets.EventsSecret, secrets.EventsSecretFile, standard)
	if err != nil {
		return p, err
	}
	p.add(&events.Provider{Secrets: own}, ownGiven)

	ofStripe, stripeGiven, err := givenSecrets("stripe-secret", secrets.StripeSecret, secrets.StripeSecretFile, signature.ParseSecrets)
	if err != nil {
		return p, err
	}
	if f.StripeAccount != "" && !strings.HasPrefix(f.StripeAccount, "acct_") {
		return p, wrongSetting("--stripe-account is no account of Stripe: it begins with acct_")
	}
	s, err := stripe.New(stripe.Options{Secrets: ofStripe, Mode: f.StripeMode, Account: f.StripeAccount})
	if err != nil {
		return p, wrongSetting("--stripe-mode, --stripe-account: %s", err)
	}
	p.add(s, stripeGiven)

	ofPaddle, paddleGiven, err := givenSecrets("paddle-secret", secrets.PaddleSecret, secrets.PaddleSecretFile, signature.ParseSecrets)
	if err != nil {
		return p, err
	}
	p.add(&paddle.Provider{Secrets: ofPaddle}, paddleGiven)

	if f.Billing == "" {
		return p, nil
	}
	data, err := os.ReadFile(f.Billing)
	if err != nil {
		return p, wrongSetting("--billing: %s", err)
	}
	others, err := custom.Parse(f.Billing, data)
	if err != nil {
		return p, wrongSetting("the file of --billing is not used:\n%s", err)
	}
	for _, other := range others {
		p.add(other, true)
	}
	return p, nil
}

// givenSecrets are secrets given by themselves or as a file that holds them. One that is given and empty is a mistake, such as
// a variable that was never filled: it must not come to mean that there is none.
func givenSecrets(name string, value, file *string, parse func(string) (signature.Secrets, error)) (s signature.Secrets, given bool, err error) {
	if value == nil && file == nil {
		return s, false, nil
	}
	var list string
	switch {
	case value != nil && file != nil:
		return s, true, wrongSetting("--%s and --%s-file are both set: keep one", name, name)
	case value != nil:
		list = *value
	case *file == "":
		return s, true, wrongSetting("--%s-file is set and names no file: name one, or leave it out", name)
	default:
		if list, err = secretFrom(name, "", *file); err != nil {
			return s, true, err
		}
	}
	if strings.TrimSpace(list) == "" {
		return s, true, wrongSetting("--%s is set and empty: fill it, or leave it out", name)
	}
	if s, err = parse(list); err != nil {
		return s, true, wrongSetting("--%s: %s", name, err)
	}
	return s, true, nil
}
