/* The smallest client that answers, in C: libmosquitto's loop, and a callback that publishes what
 * it got. Its functions are declared here, for devices have the library and seldom its headers. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

struct mosquitto;
struct mosquitto_message {
	int mid;
	char *topic;
	void *payload;
	int payloadlen;
	int qos;
	bool retain;
};
typedef void (*on_message)(struct mosquitto *, void *, const struct mosquitto_message *);

#define MOSQ_OPT_TCP_NODELAY 11

int mosquitto_lib_init(void);
struct mosquitto *mosquitto_new(const char *id, bool clean_session, void *data);
void mosquitto_message_callback_set(struct mosquitto *client, on_message callback);
int mosquitto_int_option(struct mosquitto *client, int option, int value);
int mosquitto_connect(struct mosquitto *client, const char *host, int port, int keepalive);
int mosquitto_subscribe(struct mosquitto *client, int *mid, const char *topics, int qos);
int mosquitto_publish(struct mosquitto *client, int *mid, const char *topic, int length,
                      const void *payload, int qos, bool retain);
int mosquitto_loop_forever(struct mosquitto *client, int timeout, int max_packets);

static void answer(struct mosquitto *client, void *data, const struct mosquitto_message *message)
{
	char topic[256];

	(void)data;
	snprintf(topic, sizeof topic, "echo/%s", message->topic);
	mosquitto_publish(client, NULL, topic, message->payloadlen, message->payload, message->qos,
	                  false);
}

int main(int argc, char **argv)
{
	struct mosquitto *client;

	if (argc != 3)
		return 2;
	mosquitto_lib_init();
	client = mosquitto_new("measured", true, NULL);
	mosquitto_message_callback_set(client, answer);
	if (mosquitto_int_option(client, MOSQ_OPT_TCP_NODELAY, 1))
		return 1;
	if (mosquitto_connect(client, "127.0.0.1", atoi(argv[1]), 60))
		return 1;
	mosquitto_subscribe(client, NULL, "sensors/+", atoi(argv[2]));
	return mosquitto_loop_forever(client, -1, 1) != 0;
}
