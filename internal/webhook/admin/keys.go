package admin

import (
	"context"

	"authhook/internal/store"
)

func (h handlers) ListKeys(ctx context.Context, r ListKeysRequestObject) (ListKeysResponseObject, error) {
	const list = "keys"
	after, err := readCursor(list, r.Params.Cursor, 1)
	if err != nil {
		return nil, err
	}
	p := store.Page{After: after[0], Limit: limitOf(r.Params.Limit)}
	stored, err := h.store.APIKeys(ctx, p)
	if err != nil {
		return nil, err
	}
	items, next := page(stored, p.Limit, keyOf, func(k *store.APIKey) string { return cursorAfter(list, k.ID) })
	return ListKeys200JSONResponse{Items: items, Next: next}, nil
}

func (h handlers) AddKey(ctx context.Context, r AddKeyRequestObject) (AddKeyResponseObject, error) {
	key := MakeKey()
	id, err := h.store.AddAPIKey(ctx, store.APIKey{Name: r.Body.Name, Role: store.Role(r.Body.Role)}, HashKey(key))
	if err != nil {
		return nil, err
	}
	return AddKey201JSONResponse{ID: id, Key: key}, nil
}

func (h handlers) WithdrawKey(ctx context.Context, r WithdrawKeyRequestObject) (WithdrawKeyResponseObject, error) {
	if err := h.store.WithdrawAPIKey(ctx, r.ID); err != nil {
		return nil, missing(err, "key %q", r.ID)
	}
	return WithdrawKey204Response{}, nil
}

func keyOf(k *store.APIKey) Key {
	return Key{
		ID: k.ID, Name: k.Name, Role: Role(k.Role), Created: k.Created, CreatedBy: k.CreatedBy, Withdrawn: k.Withdrawn,
	}
}
