package api

import (
	"context"
	"net/http"

	"github.com/kontorhq/kontor/internal/commerce/ledger"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/command"
)

const accountsPath = "/v1/ledger/accounts/"

// CreateAccount answers POST /v1/ledger/accounts.
func (s *Server) CreateAccount(ctx context.Context, r CreateAccountRequestObject) (CreateAccountResponseObject, error) {
	c, b := callOf(ctx), r.Body
	account := ledger.NewAccount{
		OrgID: c.principal.OrgID, Code: b.Code, Type: ledger.AccountType(b.Type), Asset: b.Asset,
		AvailableMin: b.AvailableMin, AvailableMax: b.AvailableMax, Metadata: metadataOf(b.Metadata),
	}
	if b.Scale != nil {
		scale := int16(*b.Scale) //nolint:gosec // the contract has at most 18
		account.Scale = &scale
	}
	answer, err := s.runner.Once(ctx, c.meta(), func(ctx context.Context, tx postgres.Tx) command.Outcome {
		results, err := s.deps.Ledger.CreateAccounts(ctx, tx, []ledger.NewAccount{account})
		switch {
		case err != nil:
			return command.Outcome{Err: inBody(err)}
		case results[0].Err != nil:
			return command.Outcome{Err: inBody(results[0].Err)}
		}
		status := http.StatusCreated
		if results[0].Exists {
			status = http.StatusOK
		}
		return command.Outcome{Answer: command.Answer{
			Status: status, SubjectID: results[0].Account.ID, Body: appendAccount(nil, &results[0].Account),
		}}
	})
	if err != nil {
		return nil, err
	}
	made := reply{answer: answer}
	if answer.Status == http.StatusCreated {
		made.location = accountsPath + ids.Format(ledger.AccountPrefix, answer.SubjectID)
	}
	return made, nil
}

// account reads the account that the path names.
func (s *Server) account(ctx context.Context, shown string) (ledger.Account, error) {
	id, err := ids.Parse(ledger.AccountPrefix, shown)
	if err != nil {
		return ledger.Account{}, ledger.ErrAccountNotFound
	}
	return s.deps.Ledger.Account(ctx, callOf(ctx).principal.OrgID, id)
}

// GetAccount answers GET /v1/ledger/accounts/{account_id}.
func (s *Server) GetAccount(ctx context.Context, r GetAccountRequestObject) (GetAccountResponseObject, error) {
	a, err := s.account(ctx, r.AccountID)
	if err != nil {
		return nil, err
	}
	return ok(appendAccount(nil, &a)), nil
}

// ListAccounts answers GET /v1/ledger/accounts.
func (s *Server) ListAccounts(ctx context.Context, r ListAccountsRequestObject) (ListAccountsResponseObject, error) {
	p := r.Params
	after, limit, err := position(listOfAccounts, p.Cursor, p.Limit)
	if err != nil {
		return nil, err
	}
	filter := ledger.AccountFilter{Code: valueOf(p.Code), CodePrefix: valueOf(p.CodePrefix)}
	list, next, err := s.deps.Ledger.ListAccounts(ctx, callOf(ctx).principal.OrgID, filter, after, limit)
	if err != nil {
		return nil, err
	}
	return page(len(list), func(out []byte, i int) []byte { return appendAccount(out, &list[i]) }, next, listOfAccounts), nil
}

// GetAccountBalance answers GET /v1/ledger/accounts/{account_id}/balance.
func (s *Server) GetAccountBalance(ctx context.Context, r GetAccountBalanceRequestObject) (GetAccountBalanceResponseObject, error) {
	a, err := s.account(ctx, r.AccountID)
	if err != nil {
		return nil, err
	}
	at, basis := moment(r.Params.At), ledger.BasisRecorded
	if r.Params.Basis != nil {
		basis = ledger.Basis(*r.Params.Basis)
	}
	balance, at, err := s.deps.Ledger.BalanceAt(ctx, a.OrgID, a.ID, at, basis)
	if err != nil {
		return nil, err
	}
	return ok(appendBalanceAt(nil, &a, at, basis, balance)), nil
}

// GetAccountStatement answers GET /v1/ledger/accounts/{account_id}/statement.
func (s *Server) GetAccountStatement(ctx context.Context, r GetAccountStatementRequestObject) (GetAccountStatementResponseObject, error) {
	p := r.Params
	after, limit, err := position(listOfMovements, p.Cursor, p.Limit)
	if err != nil {
		return nil, err
	}
	a, err := s.account(ctx, r.AccountID)
	if err != nil {
		return nil, err
	}
	filter := ledger.StatementFilter{From: moment(p.From), To: moment(p.To)}
	list, next, err := s.deps.Ledger.Statement(ctx, a.OrgID, a.ID, filter, after, limit)
	if err != nil {
		return nil, err
	}
	return page(len(list), func(out []byte, i int) []byte { return appendStatementLine(out, &list[i], a.Type) }, next, listOfMovements), nil
}
