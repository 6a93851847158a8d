package sandbox

import (
	"encoding/json"
	"net/http"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/kontorhq/kontor/internal/commerce/payments"
	"github.com/kontorhq/kontor/internal/kit/fault"
	"github.com/kontorhq/kontor/internal/kit/ids"
)

// ParseWebhook checks the signature and its age (Standard Webhooks: five minutes either way) and reads the event. Its
// errors are faults: webhook_signature_invalid or webhook_malformed. The OrgID of a charge that names none of ours is
// zero.
func (p *Provider) ParseWebhook(header http.Header, body []byte) (payments.ProviderWebhook, error) {
	if p.unverifiable != nil {
		return payments.ProviderWebhook{}, fault.New(fault.Unavailable, "webhook_secret_invalid",
			"The secret of the sandbox's webhooks is missing or malformed.").Because(p.unverifiable)
	}
	if err := p.verifier.Verify(body, header); err != nil {
		return payments.ProviderWebhook{}, fault.New(fault.Unauthenticated, "webhook_signature_invalid",
			"The webhook is not signed with the secret of this endpoint, or too old.").Because(err)
	}
	var e Event
	if err := json.Unmarshal(body, &e); err != nil {
		return payments.ProviderWebhook{}, malformedWebhook().Because(err)
	}
	if e.Type == "" || e.Data.Operation.Reference == "" {
		return payments.ProviderWebhook{}, malformedWebhook()
	}
	orgID, err := ids.Parse(orgPrefix, e.Data.Charge.Metadata[metadataOrg])
	if err != nil {
		orgID = ids.ID{} // a charge made by somebody else with the same key
	}
	return payments.ProviderWebhook{
		ID: header.Get(standardwebhooks.HeaderWebhookID), Type: e.Type, OrgID: orgID,
		PaymentID: e.Data.Charge.Metadata[metadataPayment],
		Reference: e.Data.Operation.Reference, OccurredAt: e.Timestamp,
	}, nil
}

func malformedWebhook() *fault.Fault {
	return fault.New(fault.Invalid, "webhook_malformed", "The webhook is no event of the sandbox.")
}
