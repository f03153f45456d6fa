package wire

// AppendAnswer appends an answer with its prefix. The one error is [ErrTooLarge].
func AppendAnswer(dst, answer []byte) ([]byte, error) {
	if len(answer) > MaxAnswer {
		return dst, ErrTooLarge
	}
	return append(appendPrefix(dst, answerMagic, len(answer)), answer...), nil
}

// AnswerSize is how many bytes of an answer follow its prefix, the first [PrefixSize] bytes. They are the answer itself.
func AnswerSize(prefix []byte) (int, error) { return sizeAfter(prefix, answerMagic, MaxAnswer) }
