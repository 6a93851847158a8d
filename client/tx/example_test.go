package tx_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/client/tx"
)

// order is what the application is about.
type order struct {
	ID, Email string
	Total     int64
}

// place writes an order and queues what follows from it: both are committed, or neither is.
func place(ctx context.Context, conn *pgx.Conn, kontor *tx.Kontor, o order) error {
	return pgx.BeginFunc(ctx, conn, func(db pgx.Tx) error {
		if _, err := db.Exec(ctx, `insert into shop_order (id, email, total) values ($1, $2, $3)`, o.ID, o.Email, o.Total); err != nil {
			return err
		}
		_, err := kontor.Enqueue(ctx, db, []tx.Task{{
			Destination: "mailer",
			HTTPRequest: &tx.HTTPRequest{
				URL:     "/messages",
				Headers: map[string]string{"Content-Type": "application/json"},
				Body:    fmt.Appendf(nil, `{"to": %q, "text": "Thank you for order %s."}`, o.Email, o.ID),
			},
			UniqueKey:   "confirmation-" + o.ID,
			SubjectType: "order", SubjectID: o.ID,
		}})
		return err
	})
}

func run(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, `create table if not exists shop_order (id text primary key, email text not null, total bigint not null)`); err != nil {
		return err
	}
	return place(ctx, conn, tx.New("default"), order{ID: "1001", Email: "ada@example.org", Total: 4200})
}

func Example() {
	if err := run(context.Background(), os.Getenv("DATABASE_URL")); err != nil {
		log.Fatal(err)
	}
}
