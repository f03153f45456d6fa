package admin

import (
	"bytes"
	"context"
	"encoding/json"

	"authhook/internal/catalog"
	"authhook/internal/policy"
	"authhook/internal/store"
)

func (h handlers) ListUsers(ctx context.Context, r ListUsersRequestObject) (ListUsersResponseObject, error) {
	const list = "users"
	after, err := readCursor(list, r.Params.Cursor, 1)
	if err != nil {
		return nil, err
	}
	limit := limitOf(r.Params.Limit)
	stored, err := h.store.Users(ctx, store.UserFilter{
		Status: policy.UserStatus(r.Params.Status), Prefix: r.Params.Prefix, After: after[0], Limit: limit,
	})
	if err != nil {
		return nil, err
	}
	items, next := page(stored, limit, userOf, func(u *store.User) string { return cursorAfter(list, u.ID) })
	return ListUsers200JSONResponse{Items: items, Next: next}, nil
}

func (h handlers) GetUser(ctx context.Context, r GetUserRequestObject) (GetUserResponseObject, error) {
	u, err := h.store.User(ctx, r.User)
	if err != nil {
		return nil, missing(err, "user %q", r.User)
	}
	all := store.Page{Limit: store.MaxFacts}
	entitled, err := h.store.Entitlements(ctx, u.ID, all)
	if err != nil {
		return nil, missing(err, "user %q", r.User)
	}
	held, err := h.store.Holds(ctx, u.ID, all)
	if err != nil {
		return nil, missing(err, "user %q", r.User)
	}
	keys, err := h.store.Credentials(ctx, u.ID, all)
	if err != nil {
		return nil, missing(err, "user %q", r.User)
	}
	body := UserWithFacts{
		ID: u.ID, Status: UserStatus(u.Status), Attributes: u.Attributes, Version: u.Version, Created: u.Created, Updated: u.Updated,
	}
	body.Entitlements, _ = page(entitled, all.Limit, entitlementOf, nowhere)
	body.Holds, _ = page(held, all.Limit, holdOf, nowhere)
	body.Credentials, _ = page(keys, all.Limit, credentialOf, nowhere)
	return GetUser200JSONResponse{Body: body, Headers: GetUser200ResponseHeaders{ETag: entityTag(u.Version)}}, nil
}

// nowhere is the next page of a list that ends with its first.
func nowhere[S any](*S) string { return "" }

func (h handlers) PutUser(ctx context.Context, r PutUserRequestObject) (PutUserResponseObject, error) {
	only, err := readPrecondition(r.Params.IfMatch, string(r.Params.IfNoneMatch))
	if err != nil {
		return nil, err
	}
	if err := CheckUserID(r.User); err != nil {
		return nil, err
	}
	change := store.UserChange{ID: r.User, Status: policy.UserStatus(r.Body.Status)}
	if r.Body.Attributes != nil {
		var b bytes.Buffer // without white space, so that the same ones again are no change
		if err := json.Compact(&b, r.Body.Attributes); err != nil {
			return nil, invalid("attributes", "are not JSON")
		}
		change.Attributes = b.Bytes()
	}
	var u store.User
	var created bool
	err = only.write(ctx, func(fits func(int64) error) error {
		if only.given {
			stands, err := h.store.User(ctx, r.User)
			if err = ignoreMissing(err); err != nil {
				return err
			}
			if err := fits(stands.Version); err != nil {
				return err
			}
			change.IfVersion = &stands.Version
		}
		var err error
		u, created, err = h.store.PutUser(ctx, change)
		return err
	})
	if err != nil {
		return nil, err
	}
	h.changed(ctx)
	body, tag := userOf(&u), entityTag(u.Version)
	if created {
		return PutUser201JSONResponse{Body: body, Headers: PutUser201ResponseHeaders{ETag: tag}}, nil
	}
	return PutUser200JSONResponse{Body: body, Headers: PutUser200ResponseHeaders{ETag: tag}}, nil
}

// CheckUserID says why an id can be no user's, as a [store.InvalidError]; nil when it can.
func CheckUserID(id string) error {
	if err := catalog.CheckPathName(id); err != nil {
		return &store.InvalidError{Field: "user", Problem: err.Error()}
	}
	return store.CheckUserID(id)
}

func userOf(u *store.User) User {
	return User{
		ID: u.ID, Status: UserStatus(u.Status), Attributes: u.Attributes, Version: u.Version, Created: u.Created, Updated: u.Updated,
	}
}
