package payments

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/fault"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/lane"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/events"
)

// Receive takes a provider's notification in: once however often it comes, and in any order. It is not believed, only
// heeded: the attempt it speaks of is looked up at once. When Receive returns nil, the notification is durable.
func (p *Payments) Receive(ctx context.Context, provider string, header http.Header, body []byte) error {
	source := p.providers[provider]
	if source == nil {
		return fault.New(fault.NotFound, "provider_unknown", "No provider of that name is configured.")
	}
	hook, err := source.ParseWebhook(header, body)
	if err != nil {
		return err
	}
	hook.provider, hook.hash = provider, sha256.Sum256(body)
	_, err = p.webhooks.Do(ctx, hook)
	return err
}

// Live attempts are those that are not finished. Asked for by their states, they would be sought in the index of all live ones.

// hot
const attemptTasksSQL = `
	select a.org_id, a.task_id
	from unnest($1::uuid[], $2::uuid[]) as k (org_id, id)
	join payment_attempt a on a.org_id = k.org_id and a.id = k.id and a.finished_at is null`

func (p *Payments) receive(ctx context.Context, batch []ProviderWebhook) ([]lane.Result[struct{}], error) {
	messages := make([]events.Message, len(batch))
	var orgs, attempts []ids.ID
	for i, h := range batch {
		payment, _ := ids.Parse(PaymentPrefix, h.PaymentID) // of somebody else's charge: kept without a subject
		messages[i] = events.Message{
			OrgID: h.OrgID, Source: h.provider, ID: h.ID, Type: h.Type, SubjectID: payment, Hash: h.hash, OccurredAt: h.OccurredAt,
		}
		if attempt, err := ids.Parse(AttemptPrefix, h.Reference); err == nil {
			orgs, attempts = append(orgs, h.OrgID), append(attempts, attempt)
		}
	}
	err := p.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		if _, err := p.Events.Receive(ctx, tx, messages); err != nil {
			return err
		}
		return p.nudge(ctx, tx, orgs, attempts)
	})
	if err != nil {
		return nil, err
	}
	return make([]lane.Result[struct{}], len(batch)), nil
}

// nudge makes the tasks of live attempts due at once.
func (p *Payments) nudge(ctx context.Context, tx postgres.Tx, orgs, attempts []ids.ID) error {
	if len(attempts) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, attemptTasksSQL, orgs, attempts)
	if err != nil {
		return fmt.Errorf("find the attempts of webhooks: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct{ OrgID, TaskID ids.ID }])
	if err != nil {
		return fmt.Errorf("find the attempts of webhooks: %w", err)
	}
	if len(found) == 0 {
		return nil
	}
	taskOrgs, taskIDs := make([]ids.ID, len(found)), make([]ids.ID, len(found))
	for i, f := range found {
		taskOrgs[i], taskIDs[i] = f.OrgID, f.TaskID
	}
	out := &pgx.Batch{}
	p.Tasks.Nudge(out, taskOrgs, taskIDs)
	return postgres.SendLater(ctx, tx, out, func(err error) error { return fmt.Errorf("wake the attempts of webhooks: %w", err) })
}
