// Command billing-standin takes a billing system's place in scripts/compose-test: it takes every entitlement away from a user,
// over the API of the service at AUTHHOOK_SERVER, with the key in AUTHHOOK_API_KEY. It must never be part of an image for use.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"authhook/client"
)

// patience is how long all of it may take.
const patience = 30 * time.Second

func main() {
	log.SetFlags(0)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if len(os.Args) != 2 {
		log.Fatal("billing-standin: whose entitlements?")
	}
	if err := withdraw(ctx, os.Args[1]); err != nil {
		log.Fatal("billing-standin: ", err)
	}
}

// withdraw takes a user's entitlements away, and prints what each was for.
func withdraw(ctx context.Context, user string) error {
	c, err := client.New(os.Getenv("AUTHHOOK_SERVER"), os.Getenv("AUTHHOOK_API_KEY"))
	if err != nil {
		return err
	}
	list, err := c.ListEntitlementsWithResponse(ctx, user, nil)
	if err != nil {
		return err
	}
	for _, e := range list.JSON200.Items {
		if _, err := c.RemoveEntitlementWithResponse(ctx, user, e.ID); err != nil {
			return err
		}
		fmt.Println("withdrawn:", e.Plan+e.Stream+e.Tag)
	}
	return nil
}
