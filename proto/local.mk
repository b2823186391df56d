noinst_LIBRARIES += libproto.a
libproto_a_SOURCES = proto/msg.c proto/msg.h proto/messages.def proto/envelope.c proto/envelope.h proto/blind.c proto/blind.h proto/statement.c proto/statement.h
